use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::uri::PathAndQuery;
use roomz_protocol::Secrets;

use crate::clock::Clock;
use crate::layer::WebhookLayer;
use crate::settings::{IdReusePolicy, Settings, StalePolicy, StoreFailurePolicy};
use crate::store::IdempotencyStore;

/// No setting is longer than this, so that no sum of two overflows.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Collects the settings of a [`WebhookLayer`]; each has a safe default.
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
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "call `build` to get the layer"]
pub struct WebhookLayerBuilder {
    settings: Settings,
}

impl WebhookLayerBuilder {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self { settings: Settings::new(secrets) }
    }

    /// Where claims are kept. Default: a [`MokaStore`] of this layer's own, in memory.
    ///
    /// A store that is chosen at run time is passed as `Arc<dyn IdempotencyStore>`.
    pub fn with_store(mut self, store: impl IdempotencyStore) -> Self {
        self.settings.store = Arc::new(store);
        self
    }

    /// Takes only requests with exactly this path, such as `/webhooks/roomz`, for deliveries; all others pass to the
    /// service unread and streaming. Default: every request is a delivery.
    ///
    /// For a layer around a whole server. The path is compared as it arrives here: undecoded, without the query, and
    /// without a prefix that a router has cut off. A request that is spelled otherwise passes through *unverified*; an
    /// extractor of `roomz-axum`, or your look into the extensions for a [`Delivery`](crate::Delivery), then finds
    /// none.
    pub fn with_path(mut self, path: &str) -> Self {
        self.settings.path = Some(path.into());
        self
    }

    /// Keeps events apart in a store that several receivers share. Default: `roomz`.
    pub fn with_namespace(mut self, namespace: &str) -> Self {
        self.settings.namespace = namespace.into();
        self
    }

    /// The header that carries the signature. Default: `roomz-signature`.
    pub fn with_signature_header(mut self, header: HeaderName) -> Self {
        self.settings.signature_header = header;
        self
    }

    /// How long a body may be, in bytes. Default: 262 144 (256 KiB).
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.settings.body_limit = bytes;
        self
    }

    /// How long reading a whole body may take. Default: 10 s.
    pub fn with_body_timeout(mut self, timeout: Duration) -> Self {
        self.settings.body_timeout = timeout;
        self
    }

    /// How old an event may be, by its own timestamp. Default: any age.
    ///
    /// ROOMZ signs no time but this one, so without it a captured delivery verifies for ever, and only the store
    /// knows it again. It is off because neither the schedule of retries nor the clocks of sensors are documented: an
    /// event that is refused for its age is lost.
    pub fn with_max_age(mut self, age: Duration) -> Self {
        self.settings.max_age = Some(age);
        self
    }

    /// How far ahead of this clock an event may be dated; only looked at with a maximum age. Default: 5 min.
    pub fn with_clock_skew(mut self, skew: Duration) -> Self {
        self.settings.clock_skew = skew;
        self
    }

    /// What becomes of an event that is too old or too new. Default: [`StalePolicy::Reject`].
    pub fn with_stale_policy(mut self, policy: StalePolicy) -> Self {
        self.settings.stale_policy = policy;
        self
    }

    /// What becomes of a known id with another body. Default: [`IdReusePolicy::Acknowledge`].
    pub fn with_id_reuse_policy(mut self, policy: IdReusePolicy) -> Self {
        self.settings.id_reuse_policy = policy;
        self
    }

    /// What becomes of a delivery while the store is down. Default: [`StoreFailurePolicy::FailClosed`].
    pub fn with_store_failure_policy(mut self, policy: StoreFailurePolicy) -> Self {
        self.settings.store_failure_policy = policy;
        self
    }

    /// How long one operation of the store may take. Default: 2 s.
    pub fn with_store_timeout(mut self, timeout: Duration) -> Self {
        self.settings.store_timeout = timeout;
        self
    }

    /// For how long a claim lasts when its process dies; it is renewed while the handler runs. Default: 60 s.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// For how long a claim is renewed at most. Default: 10 min.
    pub fn with_lease_ceiling(mut self, ceiling: Duration) -> Self {
        self.settings.lease_ceiling = ceiling;
        self
    }

    /// How long a duplicate waits for the delivery that is being handled, before it is answered 503. Default: 10 s;
    /// zero does not wait.
    ///
    /// ROOMZ waits 30 s for an answer (subject to change): stay well below.
    pub fn with_duplicate_wait(mut self, wait: Duration) -> Self {
        self.settings.duplicate_wait = wait;
        self
    }

    /// For how long a handled event's id is remembered. Default: 7 days.
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.settings.retention = retention;
        self
    }

    /// What `Retry-After` says with a 503, rounded up to seconds. Default: 5 s.
    pub fn with_retry_after(mut self, pause: Duration) -> Self {
        self.settings.retry_after = pause;
        self
    }

    /// Where an event's age is measured. Default: [`SystemClock`].
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// The layer.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when a setting cannot work: zero where time or room is needed, longer than ten years, a
    /// retention shorter than the window in which an event is accepted, a lease shorter than three store time-outs
    /// or longer than its ceiling, a path that no request has, or an empty namespace.
    pub fn build(self) -> Result<WebhookLayer, BuildError> {
        let s = &self.settings;
        let durations = [
            ("body_timeout", s.body_timeout, false),
            ("max_age", s.max_age.unwrap_or(Duration::from_secs(1)), false),
            ("clock_skew", s.clock_skew, true),
            ("store_timeout", s.store_timeout, false),
            ("lease", s.lease, false),
            ("lease_ceiling", s.lease_ceiling, false),
            ("duplicate_wait", s.duplicate_wait, true),
            ("retention", s.retention, false),
            ("retry_after", s.retry_after, true),
        ];
        for (setting, value, may_be_zero) in durations {
            if value == Duration::ZERO && !may_be_zero {
                return Err(BuildErrorKind::Zero { setting }.into());
            }
            if value > LONGEST {
                return Err(BuildErrorKind::TooLong { setting, value }.into());
            }
        }
        if s.body_limit == 0 {
            return Err(BuildErrorKind::Zero { setting: "body_limit" }.into());
        }
        // A renewal that hangs must leave time for another.
        at_least(("lease", s.lease), ("three times store_timeout", s.store_timeout * 3))?;
        at_least(("lease_ceiling", s.lease_ceiling), ("lease", s.lease))?;
        at_least(("retention", s.retention), ("lease_ceiling", s.lease_ceiling))?;
        if let Some(max_age) = s.max_age {
            at_least(("retention", s.retention), ("max_age + clock_skew", max_age + s.clock_skew))?;
        }
        if let Some(path) = &s.path
            && !is_path(path)
        {
            return Err(BuildErrorKind::Path { path: path.to_string() }.into());
        }
        if s.namespace.is_empty() {
            return Err(BuildErrorKind::EmptyNamespace.into());
        }
        Ok(WebhookLayer::from_settings(self.settings))
    }
}

/// Whether a request can have this path. A pattern of a router, which would match nothing, is none.
fn is_path(path: &str) -> bool {
    let parsed = path.parse::<PathAndQuery>();
    path.starts_with('/')
        && !path.contains(['{', '}', '*', '#'])
        && parsed.is_ok_and(|parsed| parsed.path() == path && parsed.query().is_none())
}

fn at_least(
    (setting, value): (&'static str, Duration),
    (other, minimum): (&'static str, Duration),
) -> Result<(), BuildError> {
    if value < minimum {
        return Err(BuildErrorKind::TooShort { setting, value, other, minimum }.into());
    }
    Ok(())
}

impl fmt::Debug for WebhookLayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookLayerBuilder").finish_non_exhaustive()
    }
}

/// A layer cannot work with these settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError(BuildErrorKind);

impl BuildError {
    /// Which setting, and why.
    #[must_use]
    pub const fn kind(&self) -> &BuildErrorKind {
        &self.0
    }
}

impl From<BuildErrorKind> for BuildError {
    fn from(kind: BuildErrorKind) -> Self {
        Self(kind)
    }
}

/// Why a layer cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildErrorKind {
    /// A setting is zero that needs time or room.
    #[non_exhaustive]
    Zero {
        /// The setting.
        setting: &'static str,
    },
    /// A setting is longer than ten years.
    #[non_exhaustive]
    TooLong {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: Duration,
    },
    /// A setting is shorter than another one needs it to be.
    #[non_exhaustive]
    TooShort {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: Duration,
        /// The other setting, or sum of settings.
        other: &'static str,
        /// Its value: the least that would do.
        minimum: Duration,
    },
    /// The path is none that a request can have: it does not begin with `/`, has a query or fragment or characters
    /// that a URI cannot have, or is a router's pattern.
    #[non_exhaustive]
    Path {
        /// The path.
        path: String,
    },
    /// The namespace has no characters.
    EmptyNamespace,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            BuildErrorKind::Zero { setting } => {
                write!(f, "`with_{setting}` is zero: give a value above zero")
            }
            BuildErrorKind::TooLong { setting, value } => {
                write!(f, "`with_{setting}` is {value:?}: the longest is ten years")
            }
            BuildErrorKind::TooShort { setting, value, other, minimum } => write!(
                f,
                "`with_{setting}` is {value:?}, which is shorter than {other} ({minimum:?}): make it at least as long"
            ),
            BuildErrorKind::Path { path } => {
                write!(
                    f,
                    "`with_path` is {path:?}: give a path as a request has it, such as \"/webhooks/roomz\""
                )
            }
            BuildErrorKind::EmptyNamespace => {
                f.write_str("`with_namespace` is empty: give a name, such as `roomz`")
            }
        }
    }
}

impl Error for BuildError {}
