use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use tokio::sync::Semaphore;

use crate::build_error::BuildError;
use crate::clock::Clock;
use crate::config::{Config, IdReusePolicy, SecretSource, StalePolicy, StoreFailurePolicy};
use crate::layer::WebhookLayer;
use crate::secrets::SecretsHandle;
use crate::store::IdempotencyStore;
use crate::tenant::{TenantLookup, unknown_secret};

impl WebhookLayer {
    /// Creates a builder with the default settings.
    ///
    /// Pass one [`Secret`](crate::Secret), several [`Secrets`](crate::Secrets), or a [`SecretsHandle`] to replace them
    /// while the layer runs.
    pub fn builder(secrets: impl Into<SecretsHandle>) -> WebhookLayerBuilder {
        WebhookLayerBuilder { config: Config::new(SecretSource::Fixed(secrets.into())) }
    }

    /// Creates a builder for a layer whose requests belong to several tenants, each with its own secrets and namespace.
    ///
    /// Mount the layer on the route of the webhooks, such as `/webhooks/{tenant}`: every request that reaches it is a delivery.
    ///
    /// For each request, the lookup finds the tenant before the body is read. An unknown tenant is rejected with 401, like a
    /// wrong signature and after the same work: two HMACs, as for a tenant with one or two secrets. A lookup that fails, panics or takes longer
    /// than 2 s ([`with_lookup_timeout`](WebhookLayerBuilder::with_lookup_timeout)) is answered 503 with `Retry-After`.
    ///
    /// The handler reads the tenant from [`Delivery::namespace`](crate::Delivery::namespace).
    ///
    /// ```
    /// use roomz_webhook::{Secret, Tenant, TenantMap, WebhookLayer};
    ///
    /// let tenants = TenantMap::new();
    /// tenants.insert("/webhooks/acme", Tenant::new("acme", Secret::new("the secret of acme")?)?)?;
    /// let layer = WebhookLayer::builder_for_tenants(tenants.clone()).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder_for_tenants(lookup: impl TenantLookup) -> WebhookLayerBuilder {
        let (lookup, unknown) = (Arc::new(lookup), unknown_secret().into());
        let secrets = SecretSource::Tenants { lookup, unknown, errors: Arc::default() };
        WebhookLayerBuilder { config: Config::new(secrets) }
    }
}

/// Builds a [`WebhookLayer`]. Every setting has a safe default.
///
/// ```
/// use std::time::Duration;
/// use roomz_webhook::{Secret, Secrets, WebhookLayer};
///
/// let secrets = Secrets::new([Secret::new("the new secret")?, Secret::new("the old secret")?])?;
/// let layer = WebhookLayer::builder(secrets)
///     .with_max_age(Duration::from_secs(60 * 60))
///     .with_body_limit(64 * 1024)
///     .build()?;
/// # drop(layer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "call `build` to get the layer"]
pub struct WebhookLayerBuilder {
    pub(super) config: Config,
}

impl WebhookLayerBuilder {
    /// Sets the store for claims. Default: a new [`MokaStore`](crate::store::MokaStore), in memory.
    ///
    /// Set a shared store when several instances receive events, or when a restart must not forget handled ids. For a
    /// store chosen at run time, pass an `Arc<dyn IdempotencyStore>`.
    ///
    /// ```
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// use roomz_webhook::store::MokaStore;
    ///
    /// # let secret = Secret::new("the webhook secret")?;
    /// let store = MokaStore::builder().with_capacity(10_000_000).build();
    /// let layer = WebhookLayer::builder(secret).with_store(store).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_store(mut self, store: impl IdempotencyStore) -> Self {
        self.config.store = Arc::new(store);
        self
    }

    /// Sets the path of the webhook. Default: none; every request is a delivery.
    ///
    /// Set it when the layer is around a whole server or router. Requests with another path pass to the service
    /// unverified, with a streaming body. The path is compared as the layer sees it: not decoded, without the query, and
    /// without a prefix that a router removed. An extractor of `roomz-axum` finds no delivery in a request that passed
    /// unverified, and answers 500.
    ///
    /// The service behind the layer must answer unknown paths with 404, so that a mistyped path is a failed delivery. tonic
    /// answers them with 200 and `grpc-status: 12`, and the event would be lost: the example `tonic` replaces that fallback.
    ///
    /// Do not set a path for tenants with different paths, because the other paths would pass unverified. Mount the layer on
    /// their route instead, such as `/webhooks/{tenant}`.
    ///
    /// ```
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret).with_path("/webhooks/roomz").build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_path(mut self, path: &str) -> Self {
        self.config.path = Some(path.into());
        self
    }

    /// Sets the namespace of this layer's claims in the store. Default: `roomz`.
    ///
    /// Set it when receivers of different webhooks share one store: staging and production, two ROOMZ subscriptions with
    /// different secrets, or two handlers of the same events. With [`builder_for_tenants`](WebhookLayer::builder_for_tenants), each
    /// tenant has its own namespace, and `build` returns an error.
    ///
    /// ```
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret).with_namespace("staging").build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_namespace(mut self, namespace: &str) -> Self {
        self.config.namespace = namespace.into();
        self.config.is_namespace_set = true;
        self
    }

    /// Sets the name of the signature header. Default: `roomz-signature`.
    ///
    /// Set it only when a proxy renames the header. The first draft of ROOMZ's documentation said `X-Roomz-Signature`.
    ///
    /// ```
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let header = http::HeaderName::from_static("x-roomz-signature");
    /// let layer = WebhookLayer::builder(secret).with_signature_header(header).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_signature_header(mut self, header: HeaderName) -> Self {
        self.config.signature_header = header;
        self
    }

    /// Sets the maximum length of a body, in bytes. Default: 262 144 (256 KiB).
    ///
    /// Lower it to bound memory: each request buffers its body. An event of ROOMZ has about 250 bytes.
    ///
    /// ```
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret).with_body_limit(16 * 1024).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.config.body_limit = bytes;
        self
    }

    /// Sets what happens to an event that is too old or too new. Default: [`StalePolicy::Reject`].
    ///
    /// Used only with a maximum age. Set [`StalePolicy::Acknowledge`] when the sender must not see a failed delivery.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_webhook::{Secret, StalePolicy, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret)
    ///     .with_max_age(Duration::from_secs(60 * 60))
    ///     .with_stale_policy(StalePolicy::Acknowledge)
    ///     .build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_stale_policy(mut self, policy: StalePolicy) -> Self {
        self.config.stale_policy = policy;
        self
    }

    /// Sets what happens to a known id with another body. Default: [`IdReusePolicy::Acknowledge`].
    ///
    /// ```
    /// # use roomz_webhook::{IdReusePolicy, Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret).with_id_reuse_policy(IdReusePolicy::Reject).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_id_reuse_policy(mut self, policy: IdReusePolicy) -> Self {
        self.config.id_reuse_policy = policy;
        self
    }

    /// Sets what happens to a delivery when the store fails at the claim. Default: [`StoreFailurePolicy::FailClosed`].
    ///
    /// Set [`StoreFailurePolicy::FailOpen`] when a repeated event is better than a late one. At most 10 000
    /// settlements are pending at a time.
    ///
    /// ```
    /// # use roomz_webhook::{Secret, StoreFailurePolicy, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret)
    ///     .with_store_failure_policy(StoreFailurePolicy::FailOpen)
    ///     .build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_store_failure_policy(mut self, policy: StoreFailurePolicy) -> Self {
        self.config.store_failure_policy = policy;
        self
    }

    /// Sets how many handlers may run at once. Default: no limit.
    ///
    /// The limit counts every running handler, including those whose client disconnected. Zero is an error. An event above
    /// the limit is claimed and waits for a running handler to end, for up to
    /// [`with_duplicate_wait`](Self::with_duplicate_wait) (10 s) after it was verified. Then it is released and answered 503
    /// with `Retry-After` and the reason `overloaded`; its next delivery is attempt 2. At most 1 000 events wait, and an
    /// event keeps waiting after its client disconnects. Duplicates of handled events are answered at once.
    ///
    /// A concurrency limit *outside* the layer does not count handlers whose client disconnected. tower's concurrency limit
    /// *inside* the layer counts every handler, but requests wait in its queue without a timeout.
    ///
    /// ```
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret).with_max_running_handlers(50).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_max_running_handlers(mut self, handlers: usize) -> Self {
        self.config.max_running_handlers = Some(handlers.min(Semaphore::MAX_PERMITS));
        self
    }

    /// Sets the clock that measures an event's age. Default: [`SystemClock`](crate::SystemClock). Set it in tests.
    ///
    /// ```
    /// # use roomz_webhook::{Secret, SystemClock, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret).with_clock(SystemClock::new()).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.config.clock = Arc::new(clock);
        self
    }

    /// Creates the layer.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when a setting cannot work: a zero limit or timeout, a duration above ten years, a retention
    /// shorter than the window in which events are accepted, a lease shorter than three store timeouts or longer than its
    /// ceiling, a path that no request has, or a namespace that is empty, longer than 255 bytes, or contains a control
    /// character.
    pub fn build(self) -> Result<WebhookLayer, BuildError> {
        self.config.validate()?;
        Ok(WebhookLayer::from_config(self.config))
    }
}

impl fmt::Debug for WebhookLayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookLayerBuilder").finish_non_exhaustive()
    }
}
