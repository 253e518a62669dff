use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use roomz_protocol::Secrets;

use crate::clock::{Clock, SystemClock};
use crate::store::{IdempotencyStore, MokaStore};

/// What the builder has checked.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) secrets: Secrets,
    pub(crate) store: Arc<dyn IdempotencyStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) path: Option<Box<str>>,
    pub(crate) namespace: Arc<str>,
    pub(crate) signature_header: HeaderName,
    pub(crate) body_limit: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) max_age: Option<Duration>,
    pub(crate) clock_skew: Duration,
    pub(crate) stale_policy: StalePolicy,
    pub(crate) id_reuse_policy: IdReusePolicy,
    pub(crate) store_failure_policy: StoreFailurePolicy,
    pub(crate) store_timeout: Duration,
    pub(crate) lease: Duration,
    pub(crate) lease_ceiling: Duration,
    pub(crate) duplicate_wait: Duration,
    pub(crate) retention: Duration,
    pub(crate) retry_after: Duration,
}

impl Settings {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            store: Arc::new(MokaStore::new()),
            clock: Arc::new(SystemClock::new()),
            path: None,
            namespace: Arc::from("roomz"),
            signature_header: HeaderName::from_static(roomz_protocol::SIGNATURE_HEADER),
            body_limit: 256 * 1024,
            body_timeout: Duration::from_secs(10),
            max_age: None,
            clock_skew: Duration::from_secs(5 * 60),
            stale_policy: StalePolicy::Reject,
            id_reuse_policy: IdReusePolicy::Acknowledge,
            store_failure_policy: StoreFailurePolicy::FailClosed,
            store_timeout: Duration::from_secs(2),
            lease: Duration::from_secs(60),
            lease_ceiling: Duration::from_secs(10 * 60),
            duplicate_wait: Duration::from_secs(10),
            retention: Duration::from_secs(7 * 24 * 60 * 60),
            retry_after: Duration::from_secs(5),
        }
    }
}

/// What becomes of an event that is too old, or too far ahead of the clock.
///
/// ```
/// use std::time::Duration;
/// use roomz_webhook::{Secret, StalePolicy, WebhookLayer};
///
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?)
///     .with_max_age(Duration::from_secs(24 * 60 * 60))
///     .with_stale_policy(StalePolicy::Acknowledge)
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StalePolicy {
    /// It is refused with 400. The default.
    #[default]
    Reject,
    /// It is answered 200 and not handled.
    Acknowledge,
}

/// What becomes of a delivery whose id is known, but with another body.
///
/// Whatever is chosen, it is logged as a warning and counted. A redelivery need not be byte-identical: ROOMZ does not
/// say.
///
/// ```
/// use roomz_webhook::{IdReusePolicy, Secret, WebhookLayer};
///
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?)
///     .with_id_reuse_policy(IdReusePolicy::Process)
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdReusePolicy {
    /// It is a duplicate like any other. The default.
    #[default]
    Acknowledge,
    /// It is an event of its own, handled once.
    Process,
    /// It is refused with 409.
    Reject,
}

/// What becomes of a delivery when the store is down, or slower than the store time-out, at the claim.
///
/// ```
/// use roomz_webhook::{Secret, StoreFailurePolicy, WebhookLayer};
///
/// // Rather twice than late.
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?)
///     .with_store_failure_policy(StoreFailurePolicy::FailOpen)
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFailurePolicy {
    /// It is answered 503 with `Retry-After` and not handled. The default.
    #[default]
    FailClosed,
    /// It is handled all the same, as attempt 1, and the store is told when it is back. Until then a
    /// duplicate may be handled again, here while the first one runs and elsewhere. A duplicate that was already told to wait is still answered 503.
    FailOpen,
}
