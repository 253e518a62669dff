//! The secrets of a request: those of the layer, or those of the request's tenant.

mod tenant;

use std::sync::{Arc, PoisonError, RwLock};

use roomz_protocol::Secrets;

pub use self::tenant::{Tenant, TenantLookup, TenantMap};
use crate::telemetry::{self, LogInterval};

/// Where the secrets of a request come from.
pub(crate) enum SecretSource {
    Fixed(SecretsHandle),
    Tenants {
        lookup: Arc<dyn TenantLookup>,
        /// The tenant of a request without one. Nobody knows its secrets.
        unknown: Tenant,
        errors: LogInterval,
    },
}

/// Every delivery is rejected when such a secret is a copying mistake, so the log must say it at the start.
fn warn_about_syntax(secrets: &Secrets) {
    if secrets.has_copied_syntax() {
        telemetry::secret_has_copied_syntax();
    }
}

impl SecretSource {
    pub(crate) fn tenants(lookup: impl TenantLookup) -> Self {
        Self::Tenants { lookup: Arc::new(lookup), unknown: Tenant::unknown(), errors: LogInterval::default() }
    }

    pub(crate) const fn has_tenants(&self) -> bool {
        matches!(self, Self::Tenants { .. })
    }
}

/// The secrets of a running layer, which can be replaced without a restart.
///
/// Keep a clone of the handle that you pass to the layer. To rotate a secret without a rejected delivery,
/// accept both secrets while ROOMZ changes from one to the other:
///
/// ```
/// use roomz_webhook::{Secret, Secrets, SecretsHandle, WebhookLayer};
///
/// let old = Secret::new("the old secret")?;
/// let handle = SecretsHandle::new(old.clone());
/// let webhook = WebhookLayer::new(handle.clone());
///
/// // 1. Accept both. With several instances, on each of them.
/// let new = Secret::new("the new secret")?;
/// handle.set(Secrets::new([new.clone(), old])?);
/// // 2. Change the secret at ROOMZ.
/// // 3. When the metric `roomz_webhook_verified_total{secret="1"}` no longer grows, remove the old secret.
/// handle.set(new);
/// # drop(webhook);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Each delivery uses the secrets that were valid when the layer began to read its body.
#[derive(Clone, Debug)]
pub struct SecretsHandle(Arc<RwLock<Secrets>>);

impl SecretsHandle {
    /// Creates a handle for one [`Secret`](crate::Secret) or several [`Secrets`].
    #[must_use]
    pub fn new(secrets: impl Into<Secrets>) -> Self {
        let secrets = secrets.into();
        warn_about_syntax(&secrets);
        Self(Arc::new(RwLock::new(secrets)))
    }

    /// Replaces the secrets. The next delivery is verified with the new ones.
    ///
    /// The change applies to every layer that uses this handle or a clone of it. A replaced key is zeroized
    /// when the last delivery that uses it ends.
    pub fn set(&self, secrets: impl Into<Secrets>) {
        let secrets = secrets.into();
        warn_about_syntax(&secrets);
        telemetry::register_secrets(secrets.count());
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = secrets;
    }

    pub(crate) fn get(&self) -> Secrets {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<T: Into<Secrets>> From<T> for SecretsHandle {
    fn from(secrets: T) -> Self {
        Self::new(secrets)
    }
}
