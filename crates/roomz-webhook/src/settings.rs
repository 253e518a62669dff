use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use roomz_protocol::Secrets;

use crate::clock::Clock;
use crate::store::IdempotencyStore;

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
    pub(crate) stale_event: StaleEvent,
    pub(crate) id_reused: IdReused,
    pub(crate) store_outage: StoreOutage,
    pub(crate) store_timeout: Duration,
    pub(crate) lease: Duration,
    pub(crate) lease_ceiling: Duration,
    pub(crate) duplicate_wait: Duration,
    pub(crate) retention: Duration,
    pub(crate) retry_after: Duration,
}

/// What becomes of an event that is too old, or too far ahead of the clock.
///
/// ```
/// use std::time::Duration;
/// use roomz_webhook::{Secret, StaleEvent, WebhookLayer};
///
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?)
///     .with_max_age(Duration::from_secs(24 * 60 * 60))
///     .with_stale_event(StaleEvent::Acknowledge)
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StaleEvent {
    /// It is refused with 400. The default.
    #[default]
    Refuse,
    /// It is answered 200 and not handled.
    Acknowledge,
}

/// What becomes of a delivery whose id is known, but with another body.
///
/// Whatever is chosen, it is logged as a warning and counted. A redelivery need not be byte-identical: ROOMZ does not
/// say.
///
/// ```
/// use roomz_webhook::{IdReused, Secret, WebhookLayer};
///
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?)
///     .with_id_reused(IdReused::Process)
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdReused {
    /// It is a duplicate like any other. The default.
    #[default]
    Acknowledge,
    /// It is an event of its own, handled once.
    Process,
    /// It is refused with 409.
    Refuse,
}

/// What becomes of a delivery when the store is down, or slower than the store time-out, at the claim.
///
/// ```
/// use roomz_webhook::{Secret, StoreOutage, WebhookLayer};
///
/// // Rather twice than late.
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?)
///     .with_store_outage(StoreOutage::Process)
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreOutage {
    /// It is answered 503 with `Retry-After` and not handled. The default.
    #[default]
    Refuse,
    /// It is handled all the same, as attempt 1, and the store is told when it is back. Until then a
    /// duplicate may be handled again, here while the first one runs and elsewhere. A duplicate that was already told to wait is still answered 503.
    Process,
}
