use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use roomz_protocol::Secrets;

use crate::build_error::{BuildError, BuildErrorKind};
use crate::clock::{Clock, SystemClock};
use crate::log_interval::LogInterval;
use crate::namespace::check_namespace;
use crate::path::check_path;
use crate::secrets::SecretsHandle;
use crate::store::{IdempotencyStore, MokaStore};
use crate::tenant::TenantLookup;

/// The longest duration that a setting accepts, so that no sum of two overflows.
const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The settings of a layer, validated by the builder.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) secrets: SecretSource,
    pub(crate) lookup_timeout: Duration,
    pub(crate) store: Arc<dyn IdempotencyStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) path: Option<Box<str>>,
    pub(crate) namespace: Arc<str>,
    pub(crate) is_namespace_set: bool,
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
    pub(crate) max_running_handlers: Option<usize>,
    pub(crate) retention: Duration,
    pub(crate) retry_after: Duration,
}

/// Where the secrets of a request come from.
#[derive(Clone)]
pub(crate) enum SecretSource {
    Fixed(SecretsHandle),
    Tenants {
        lookup: Arc<dyn TenantLookup>,
        /// A random secret, for requests of unknown tenants.
        unknown: Secrets,
        /// When a failed lookup was last logged as an error, in seconds of the monotonic clock plus 1. 0 if never.
        errors: Arc<LogInterval>,
    },
}

impl Config {
    /// The default settings. They pass [`validate`](Self::validate).
    pub(crate) fn new(secrets: SecretSource) -> Self {
        Self {
            secrets,
            lookup_timeout: Duration::from_secs(2),
            store: Arc::new(MokaStore::new()),
            clock: Arc::new(SystemClock::new()),
            path: None,
            namespace: Arc::from("roomz"),
            is_namespace_set: false,
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
            max_running_handlers: None,
            retention: Duration::from_secs(7 * 24 * 60 * 60),
            retry_after: Duration::from_secs(5),
        }
    }

    pub(crate) const fn has_tenants(&self) -> bool {
        matches!(self.secrets, SecretSource::Tenants { .. })
    }

    /// Returns an error for the first invalid setting.
    pub(crate) fn validate(&self) -> Result<(), BuildError> {
        self.validate_durations()?;
        if self.body_limit == 0 {
            return Err(BuildError::new(BuildErrorKind::Zero { setting: "with_body_limit" }));
        }
        if self.max_running_handlers == Some(0) {
            return Err(BuildError::new(BuildErrorKind::Zero { setting: "with_max_running_handlers" }));
        }
        // A renewal that times out must leave time for another.
        require_min(("with_lease", self.lease), ("3 × with_store_timeout", self.store_timeout * 3))?;
        require_min(("with_lease_ceiling", self.lease_ceiling), ("with_lease", self.lease))?;
        require_min(("with_retention", self.retention), ("with_lease_ceiling", self.lease_ceiling))?;
        if let Some(max_age) = self.max_age {
            let window = ("with_max_age + with_clock_skew", max_age + self.clock_skew);
            require_min(("with_retention", self.retention), window)?;
        }
        if let Some(path) = &self.path {
            check_path(path)?;
        }
        check_namespace(&self.namespace)?;
        if self.has_tenants() && self.is_namespace_set {
            return Err(BuildError::new(BuildErrorKind::NamespaceWithTenants));
        }
        Ok(())
    }

    fn validate_durations(&self) -> Result<(), BuildError> {
        const ONE: Duration = Duration::from_secs(1);
        for (setting, value, may_be_zero) in [
            ("with_body_timeout", self.body_timeout, false),
            ("with_lookup_timeout", self.lookup_timeout, false),
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

/// What the layer does when an event id was received before with a different body.
///
/// `Acknowledge` and `Reject` log a warning and count the delivery. ROOMZ does not document whether a redelivery is
/// byte-identical. Changing to or from `Process` changes the keys in the store, so events that were handled before are handled
/// again.
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
    /// Handle each body as its own event: the key is the id *and* the body.
    ///
    /// Each body is handled once while it is remembered. The layer does not notice that the id was used before, so it logs and
    /// counts nothing. A redelivery that is not byte-identical is handled again.
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
    /// Run the handler as attempt 1, and record the result when the store recovers, within the lease ceiling (10 min by
    /// default). A full store is still answered 503.
    ///
    /// Until the result is recorded, a duplicate may run too: in this process only while the first handler runs, in other
    /// processes at any time. A duplicate that was already waiting is answered 503.
    FailOpen,
}
