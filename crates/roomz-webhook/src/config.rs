use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::uri::PathAndQuery;
use roomz_protocol::Secrets;

use crate::build_error::{BuildError, BuildErrorKind};
use crate::clock::{Clock, SystemClock};
use crate::store::{IdempotencyStore, MokaStore};

/// The longest duration that a setting accepts, so that no sum of two overflows.
const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The settings of a layer, validated by the builder.
#[derive(Clone)]
pub(crate) struct Config {
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

impl Config {
    /// The default settings. They pass [`validate`](Self::validate).
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

    /// Returns an error for the first invalid setting.
    pub(crate) fn validate(&self) -> Result<(), BuildError> {
        self.validate_durations()?;
        if self.body_limit == 0 {
            return Err(BuildError::new(BuildErrorKind::Zero { setting: "with_body_limit" }));
        }
        // A renewal that times out must leave time for another.
        require_min(("with_lease", self.lease), ("3 × with_store_timeout", self.store_timeout * 3))?;
        require_min(("with_lease_ceiling", self.lease_ceiling), ("with_lease", self.lease))?;
        require_min(("with_retention", self.retention), ("with_lease_ceiling", self.lease_ceiling))?;
        if let Some(max_age) = self.max_age {
            let window = ("with_max_age + with_clock_skew", max_age + self.clock_skew);
            require_min(("with_retention", self.retention), window)?;
        }
        if let Some(path) = &self.path
            && let Some(problem) = path_problem(path)
        {
            return Err(BuildError::new(BuildErrorKind::Path { path: path.to_string(), problem }));
        }
        if self.namespace.is_empty() {
            return Err(BuildError::new(BuildErrorKind::EmptyNamespace));
        }
        Ok(())
    }

    fn validate_durations(&self) -> Result<(), BuildError> {
        const ONE: Duration = Duration::from_secs(1);
        for (setting, value, may_be_zero) in [
            ("with_body_timeout", self.body_timeout, false),
            ("with_max_age", self.max_age.unwrap_or(ONE), false),
            ("with_clock_skew", self.clock_skew, true),
            ("with_store_timeout", self.store_timeout, false),
            ("with_lease", self.lease, false),
            ("with_lease_ceiling", self.lease_ceiling, false),
            ("with_duplicate_wait", self.duplicate_wait, true),
            ("with_retention", self.retention, false),
            ("with_retry_after", self.retry_after, true),
        ] {
            if value == Duration::ZERO && !may_be_zero {
                return Err(BuildError::new(BuildErrorKind::Zero { setting }));
            }
            if value > MAX_DURATION {
                return Err(BuildError::new(BuildErrorKind::TooLong { setting, value }));
            }
        }
        Ok(())
    }
}

/// Returns why no request can have this path.
fn path_problem(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        return Some("it does not start with `/`");
    }
    if path.contains('?') {
        return Some("it contains a query");
    }
    if path.contains('#') {
        return Some("it contains a fragment");
    }
    if path.contains(['{', '}', '*']) {
        return Some("it is a router's pattern, and the layer compares paths literally");
    }
    match path.parse::<PathAndQuery>() {
        Ok(parsed) if parsed.path() == path => None,
        _ => Some("it contains characters that a URI path cannot have"),
    }
}

fn require_min(
    (setting, value): (&'static str, Duration),
    (limit, minimum): (&'static str, Duration),
) -> Result<(), BuildError> {
    if value < minimum {
        return Err(BuildError::new(BuildErrorKind::TooShort { setting, value, limit, minimum }));
    }
    Ok(())
}

/// What the layer does with an event that is too old, or too far in the future.
///
/// Used only with [`with_max_age`](crate::WebhookLayerBuilder::with_max_age).
///
/// ```
/// use std::time::Duration;
/// use roomz_webhook::{Secret, StalePolicy, WebhookLayer};
///
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?)
///     .with_max_age(Duration::from_secs(24 * 60 * 60))
///     .with_stale_policy(StalePolicy::Acknowledge)
///     .build()?;
/// # drop(layer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StalePolicy {
    /// Reject it with 400. The default.
    #[default]
    Reject,
    /// Answer 200 and do not run the handler.
    Acknowledge,
}

/// What the layer does with a delivery whose id is known with another body.
///
/// Each policy logs a warning and counts the delivery. ROOMZ does not document whether a redelivery is byte-identical.
///
/// ```
/// use roomz_webhook::{IdReusePolicy, Secret, WebhookLayer};
///
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?)
///     .with_id_reuse_policy(IdReusePolicy::Reject)
///     .build()?;
/// # drop(layer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdReusePolicy {
    /// Treat it as a duplicate. The default.
    #[default]
    Acknowledge,
    /// Handle it once, as another event.
    Process,
    /// Reject it with 409.
    Reject,
}

/// What the layer does when the store fails, or exceeds the store timeout, at the claim.
///
/// ```
/// use roomz_webhook::{Secret, StoreFailurePolicy, WebhookLayer};
///
/// // A repeated event is better than a late one.
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?)
///     .with_store_failure_policy(StoreFailurePolicy::FailOpen)
///     .build()?;
/// # drop(layer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFailurePolicy {
    /// Answer 503 with `Retry-After` and do not run the handler. The default.
    #[default]
    FailClosed,
    /// Run the handler as attempt 1, and record the result once the store recovers.
    ///
    /// Until then a duplicate may run too: in this process while the first one runs, in others at any time. A duplicate
    /// that was already waiting is still answered 503.
    FailOpen,
}
