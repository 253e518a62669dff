use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use crate::build_error::BuildError;
use crate::clock::Clock;
use crate::config::{Config, IdReusePolicy, StalePolicy};
use crate::layer::WebhookLayer;
use crate::secrets::{SecretSource, SecretsHandle, TenantLookup};
use crate::store::{IdempotencyStore, TimedStore};

impl WebhookLayer {
    /// Creates a builder with the default settings.
    ///
    /// Pass one [`Secret`](crate::Secret), several [`Secrets`](crate::Secrets), or a [`SecretsHandle`] to
    /// replace them while the layer runs.
    pub fn builder(secrets: impl Into<SecretsHandle>) -> WebhookLayerBuilder {
        WebhookLayerBuilder { config: Config::new(SecretSource::Fixed(secrets.into())) }
    }

    /// Creates a builder for a layer whose requests belong to several tenants, each with its own secrets and
    /// namespace.
    ///
    /// Mount the layer on the route of the webhooks, such as `/webhooks/{tenant}`: every request that reaches
    /// it is a delivery.
    ///
    /// For each request, the lookup finds the tenant before the body is read. An unknown tenant is rejected
    /// with 401, like a wrong signature and after the same work: two HMACs, as for a tenant with one or two
    /// secrets. A lookup that fails, panics or takes longer than the [store
    /// timeout](WebhookLayerBuilder::with_store_timeout) (2 s) is answered 503 with `Retry-After`.
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
        WebhookLayerBuilder { config: Config::new(SecretSource::tenants(lookup)) }
    }
}

/// Builds a [`WebhookLayer`]. Every setting has a safe default.
///
/// Most receivers need at most four settings. They are the first ones below:
///
/// | setting | when |
/// |---|---|
/// | [`with_store`](Self::with_store) | several instances, or a restart must not forget handled ids |
/// | [`with_path`](Self::with_path) | the layer is around a whole server or router |
/// | [`with_namespace`](Self::with_namespace) | receivers of different webhooks share a store |
/// | [`with_lease`](Self::with_lease) | handlers are short, and events should not wait 60 s after a crash |
///
/// ```
/// use std::time::Duration;
/// use roomz_webhook::{Secret, Secrets, WebhookLayer};
///
/// let secrets = Secrets::new([Secret::new("the new secret")?, Secret::new("the old secret")?])?;
/// let layer = WebhookLayer::builder(secrets)
///     .with_path("/webhooks/roomz")
///     .with_retention(Duration::from_secs(24 * 60 * 60))
///     .build()?;
/// # drop(layer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(derive_more::Debug)]
#[debug("WebhookLayerBuilder")]
#[must_use = "call `build` to get the layer"]
pub struct WebhookLayerBuilder {
    config: Config,
}

impl WebhookLayerBuilder {
    /// Sets the store for claims. Default: a new [`MokaStore`](crate::store::MokaStore), in memory.
    ///
    /// Set a shared store when several instances receive events, or when a restart must not forget handled
    /// ids. For a store chosen at run time, pass an `Arc<dyn IdempotencyStore>`.
    ///
    /// ```
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// use roomz_webhook::store::MokaStore;
    ///
    /// # let secret = Secret::new("the webhook secret")?;
    /// let store = MokaStore::builder().with_capacity(2_000_000).build();
    /// let layer = WebhookLayer::builder(secret).with_store(store).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_store(mut self, store: impl IdempotencyStore) -> Self {
        self.config.store = TimedStore::new(store, self.config.store.timeout);
        self
    }

    /// Sets the path of the webhook. Default: none; every request is a delivery.
    ///
    /// Set it when the layer is around a whole server or router. Requests with another path pass to the
    /// service unverified, with a streaming body. The path is compared as the layer sees it: not decoded,
    /// without the query, and without a prefix that a router removed. An extractor of `roomz-axum` finds no
    /// delivery in a request that passed unverified, and answers 500. A handler that reads the body without
    /// an extractor would handle a forged one. If 10 requests with a signature header have other paths and
    /// none has this one, the layer logs a warning once.
    ///
    /// The service behind the layer must answer unknown paths with 404, so that a mistyped path is a failed
    /// delivery. tonic answers them with 200 and `grpc-status: 12`, and the event would be lost: replace that
    /// [fallback](crate::docs::composing#tonic).
    ///
    /// Do not set a path for tenants with different paths, because the other paths would pass unverified.
    /// Mount the layer on their route instead, such as `/webhooks/{tenant}`.
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
    /// Set it when receivers of different webhooks share one store: staging and production, two ROOMZ
    /// subscriptions with different secrets, or two handlers of the same events. With
    /// [`builder_for_tenants`](WebhookLayer::builder_for_tenants), each tenant has its own namespace, and
    /// `build` returns an error.
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
        self
    }

    /// Sets the lease of a claim: how long an event stays claimed after its process died. Default: 60 s.
    ///
    /// The lease is renewed while the handler runs, every third of it. After a crash, redeliveries of events
    /// that ran are answered 503 until their lease ends. Lower it when handlers are short, to at least
    /// three times the store timeout; raise it when handlers block their thread or processes are suspended.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret).with_lease(Duration::from_secs(30)).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.config.lease = lease;
        self
    }

    /// Sets the name of the signature header. Default: `roomz-signature`.
    ///
    /// Set it only when a proxy renames the header. The first draft of ROOMZ's documentation said
    /// `X-Roomz-Signature`. nginx and Caddy (2.11.7) remove headers with `_` or `.` in their names.
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

    /// Runs the handler when the store fails, or exceeds the store timeout, at the claim. Default: such a
    /// delivery is answered 503 with `Retry-After`, and the handler does not run.
    ///
    /// Set it when a repeated event is better than a late one. The handler runs as attempt 1, and the result
    /// is recorded when the store recovers, within the lease ceiling (10 min by default); at most 10 000
    /// settlements are pending at a time. A full store is still answered 503.
    ///
    /// Until the result is recorded, a duplicate may run too: in this process only while the first handler
    /// runs, in other processes at any time. A duplicate that was already waiting is answered 503.
    ///
    /// ```
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret).with_fail_open().build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_fail_open(mut self) -> Self {
        self.config.fails_open = true;
        self
    }

    /// Sets the deadline for reading a whole body. Default: 10 s.
    ///
    /// Lower it when slow clients hold too many connections.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret).with_body_timeout(Duration::from_secs(5)).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_body_timeout(mut self, timeout: Duration) -> Self {
        self.config.body_timeout = timeout;
        self
    }

    /// Sets the maximum age of an event, by its own timestamp, and what happens to an event that is older.
    /// Default: none.
    ///
    /// Set it to limit replays: ROOMZ signs no other time, so without it a captured delivery stays valid, and
    /// only the store recognises it. It is off because ROOMZ documents neither its retry schedule nor its
    /// clocks, and an event rejected for its age is lost. With [`StalePolicy::Acknowledge`], the sender does
    /// not see a failed delivery.
    ///
    /// An event whose timestamp is more than 5 min in the future, or cannot be read, is handled in the same
    /// way.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_webhook::{Secret, StalePolicy, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let day = Duration::from_secs(24 * 60 * 60);
    /// let layer = WebhookLayer::builder(secret).with_max_age(day, StalePolicy::Reject).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_max_age(mut self, age: Duration, policy: StalePolicy) -> Self {
        self.config.max_age = Some((age, policy));
        self
    }

    /// Sets the timeout of one store operation, and of one lookup of a tenant. Default: 2 s.
    ///
    /// The lease must be at least three times as long, so that a renewal that times out can be repeated. When
    /// you lower it, lower the timeout of the store too, which is 1.5 s: `with_response_timeout` of
    /// `roomz-sql`, or `with_timeout` of `roomz-redis`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret).with_store_timeout(Duration::from_millis(500)).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_store_timeout(mut self, timeout: Duration) -> Self {
        self.config.store.timeout = timeout;
        self
    }

    /// Sets how long a claim is renewed at most. Default: 10 min.
    ///
    /// After that, a redelivery may run beside a handler that hangs. It is also how long a completion is
    /// retried while the store is down.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret).with_lease_ceiling(Duration::from_secs(60 * 60)).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_lease_ceiling(mut self, ceiling: Duration) -> Self {
        self.config.lease_ceiling = ceiling;
        self
    }

    /// Sets how long a duplicate waits for the delivery in flight before it is answered 503. Default: 10 s.
    ///
    /// With zero, a duplicate does not wait. At most 100 duplicates of one event and 1 000 in all wait; one
    /// more is answered 503 at once. A duplicate whose client disconnects stops waiting. Stay well below 30
    /// s, after which ROOMZ gives up (subject to change).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret).with_duplicate_wait(Duration::ZERO).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_duplicate_wait(mut self, wait: Duration) -> Self {
        self.config.duplicate_wait = wait;
        self
    }

    /// Sets how long the id of a handled event is remembered. Default: 7 days.
    ///
    /// It must cover the maximum age plus 5 min, and the lease ceiling. Lower it to save memory in the store.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let day = Duration::from_secs(24 * 60 * 60);
    /// let layer = WebhookLayer::builder(secret).with_retention(day).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.config.retention = retention;
        self
    }

    /// Sets the clock that measures an event's age. Default: [`SystemClock`](crate::SystemClock). Set it in
    /// tests.
    ///
    /// ```
    /// # use roomz_webhook::{Secret, SystemClock, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret).with_clock(SystemClock).build()?;
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
    /// [`BuildError`] when a setting cannot work: a zero limit or timeout, a duration above ten years, a
    /// retention shorter than the window in which events are accepted, a lease shorter than three store
    /// timeouts or longer than its ceiling, a path that no request has, or a namespace that is empty, longer
    /// than 255 bytes, or contains a control character.
    pub fn build(self) -> Result<WebhookLayer, BuildError> {
        self.config.validate()?;
        Ok(WebhookLayer::from_config(self.config))
    }
}
