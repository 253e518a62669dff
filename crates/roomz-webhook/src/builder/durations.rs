use std::time::Duration;

use super::layer_builder::WebhookLayerBuilder;

/// The timeouts, and how long claims and ids are kept.
impl WebhookLayerBuilder {
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

    /// Sets the maximum age of an event, by its own timestamp. Default: none.
    ///
    /// Set it to limit replays: ROOMZ signs no other time, so without it a captured delivery stays valid, and only the
    /// store recognises it. It is off because ROOMZ documents neither its retry schedule nor its clocks, and an event
    /// rejected for its age is lost.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let day = Duration::from_secs(24 * 60 * 60);
    /// let layer = WebhookLayer::builder(secret).with_max_age(day).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_max_age(mut self, age: Duration) -> Self {
        self.config.max_age = Some(age);
        self
    }

    /// Sets how far in the future an event's timestamp may be. Default: 5 min. Used only with a maximum age.
    ///
    /// Raise it when the clocks of ROOMZ and this machine differ by more.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret)
    ///     .with_max_age(Duration::from_secs(60 * 60))
    ///     .with_clock_skew(Duration::from_secs(60))
    ///     .build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_clock_skew(mut self, skew: Duration) -> Self {
        self.config.clock_skew = skew;
        self
    }

    /// Sets the timeout of one store operation. Default: 2 s.
    ///
    /// The lease must be at least three times as long, so that a renewal that times out can be repeated.
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
        self.config.store_timeout = timeout;
        self
    }

    /// Sets the lease of a claim: how long an event stays claimed after its process died. Default: 60 s.
    ///
    /// The lease is renewed while the handler runs, every third of it. Lower it to recover faster; raise it when handlers
    /// block their thread or processes are suspended.
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

    /// Sets how long a claim is renewed at most. Default: 10 min.
    ///
    /// After that, a redelivery may run beside a handler that hangs. It is also how long a completion is retried while the
    /// store is down.
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
    /// With zero, a duplicate does not wait. At most 100 duplicates of one event and 1 000 in all wait; one more is answered
    /// 503 at once. A duplicate whose client disconnects stops waiting. It is also how
    /// long an event waits for [`with_max_running_handlers`](Self::with_max_running_handlers). Stay well below 30 s, after which ROOMZ gives up (subject to change).
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

    /// Sets the timeout of one tenant lookup. Default: 2 s. A lookup that takes longer is answered 503 with `Retry-After` and the
    /// reason `tenant-lookup-failed`.
    ///
    /// Used only with [`builder_for_tenants`](crate::WebhookLayer::builder_for_tenants).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_webhook::{TenantMap, WebhookLayer};
    /// let tenants = TenantMap::new();
    /// let layer = WebhookLayer::builder_for_tenants(tenants).with_lookup_timeout(Duration::from_millis(500)).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_lookup_timeout(mut self, timeout: Duration) -> Self {
        self.config.lookup_timeout = timeout;
        self
    }

    /// Sets how long the id of a handled event is remembered. Default: 7 days.
    ///
    /// It must cover `with_max_age` plus `with_clock_skew`, and the lease ceiling. Lower it to save memory in the store.
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

    /// Sets the `Retry-After` of a 503. Default: 5 s. Rounded up to whole seconds, at least one.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_webhook::{Secret, WebhookLayer};
    /// # let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret).with_retry_after(Duration::from_secs(30)).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.config.retry_after = delay;
        self
    }
}
