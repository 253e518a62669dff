use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use roomz_protocol::CLOCK_SKEW;

use crate::build_error::{BuildError, check_namespace, check_path};
use crate::clock::{Clock, SystemClock};
use crate::secrets::SecretSource;
use crate::store::{MokaStore, TimedStore};

/// The longest duration that a setting accepts, so that no sum of two overflows.
const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The settings of a layer, validated by the builder.
pub(crate) struct Config {
    pub(crate) secrets: SecretSource,
    pub(crate) store: TimedStore,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) path: Option<Box<str>>,
    /// Unused with tenants.
    pub(crate) namespace: Arc<str>,
    pub(crate) signature_header: HeaderName,
    pub(crate) body_limit: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) max_age: Option<(Duration, StalePolicy)>,
    pub(crate) id_reuse_policy: IdReusePolicy,
    /// Whether a handler runs without a claim while the store fails.
    pub(crate) fails_open: bool,
    pub(crate) lease: Duration,
    pub(crate) lease_ceiling: Duration,
    pub(crate) duplicate_wait: Duration,
    pub(crate) retention: Duration,
}

impl Config {
    const NAMESPACE: &str = "roomz";

    /// The default settings. They pass [`validate`](Self::validate).
    pub(crate) fn new(secrets: SecretSource) -> Self {
        Self {
            secrets,
            store: TimedStore::new(MokaStore::new(), Duration::from_secs(2)),
            clock: Arc::new(SystemClock),
            path: None,
            namespace: Arc::from(Self::NAMESPACE),
            signature_header: HeaderName::from_static(roomz_protocol::SIGNATURE_HEADER),
            body_limit: 256 * 1024,
            body_timeout: Duration::from_secs(10),
            max_age: None,
            id_reuse_policy: IdReusePolicy::Acknowledge,
            fails_open: false,
            lease: Duration::from_secs(60),
            lease_ceiling: Duration::from_secs(10 * 60),
            duplicate_wait: Duration::from_secs(10),
            retention: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }

    /// Returns an error for the first invalid setting.
    pub(crate) fn validate(&self) -> Result<(), BuildError> {
        const ANY: (&str, Duration) = ("", Duration::ZERO);
        const POSITIVE: (&str, Duration) = ("", Duration::from_nanos(1));
        let max_age = self.max_age.map(|(max_age, _)| max_age);
        let window = max_age.map_or(Duration::ZERO, |max_age| max_age.saturating_add(CLOCK_SKEW));
        for (setting, value, (limit, minimum)) in [
            ("with_body_timeout", self.body_timeout, POSITIVE),
            ("with_max_age", max_age.unwrap_or(MAX_DURATION), POSITIVE),
            ("with_store_timeout", self.store.timeout, POSITIVE),
            ("with_duplicate_wait", self.duplicate_wait, ANY),
            // A renewal that times out must leave time for another.
            ("with_lease", self.lease, ("3 × with_store_timeout", self.store.timeout.saturating_mul(3))),
            ("with_lease_ceiling", self.lease_ceiling, ("with_lease", self.lease)),
            ("with_retention", self.retention, ("with_lease_ceiling", self.lease_ceiling)),
            ("with_retention", self.retention, ("with_max_age + 5 min", window)),
        ] {
            let problem = if value.is_zero() && !minimum.is_zero() {
                format!("`{setting}` is zero; set a value above zero")
            } else if value > MAX_DURATION {
                format!("`{setting}` is {value:?}; the maximum is ten years")
            } else if value < minimum {
                format!("`{setting}` is {value:?}, but must be at least {minimum:?} (`{limit}`)")
            } else {
                continue;
            };
            return Err(BuildError(problem));
        }
        if self.body_limit == 0 {
            return Err(BuildError("`with_body_limit` is zero; set a value above zero".to_owned()));
        }
        if let Some(path) = &self.path {
            check_path(path)?;
        }
        check_namespace(&self.namespace)?;
        if self.secrets.has_tenants() && *self.namespace != *Self::NAMESPACE {
            return Err(BuildError(
                "`with_namespace` cannot be used with `builder_for_tenants`: each tenant has its own namespace; remove it"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// What the layer does with an event that is too old, or too far in the future.
///
/// An argument of [`with_max_age`](crate::WebhookLayerBuilder::with_max_age).
///
/// ```
/// use std::time::Duration;
/// use roomz_webhook::{Secret, StalePolicy, WebhookLayer};
///
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?)
///     .with_max_age(Duration::from_secs(24 * 60 * 60), StalePolicy::Acknowledge)
///     .build()?;
/// # drop(layer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StalePolicy {
    /// Reject it with 400.
    Reject,
    /// Answer 200 and do not run the handler.
    Acknowledge,
}

/// What the layer does when an event id was received before with a different body.
///
/// `Acknowledge` and `Reject` log a warning and count the delivery. ROOMZ does not document whether a
/// redelivery is byte-identical. Changing to or from `Process` changes the keys in the store, so events that
/// were handled before are handled again.
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
    /// Each body is handled once while it is remembered. The layer does not notice that the id was used
    /// before, so it logs and counts nothing. A redelivery that is not byte-identical is handled again.
    Process,
    /// Reject it with 409.
    Reject,
}
