use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use async_trait::async_trait;
use http::request::Parts;
use roomz_protocol::{Secret, Secrets};

use crate::build_error::{BuildError, check_namespace, check_path};

/// A customer with its own webhook: its secrets, and the namespace of its claims.
///
/// Clones are cheap.
///
/// ```
/// use roomz_webhook::{Secret, Tenant};
///
/// let tenant = Tenant::new("acme", Secret::new("the secret of acme")?)?;
/// # drop(tenant);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tenant {
    pub(crate) namespace: Arc<str>,
    pub(crate) secrets: Secrets,
}

impl Tenant {
    /// Creates a tenant with one [`Secret`], or several [`Secrets`] during a rotation.
    ///
    /// The namespace separates the claims of tenants. Give each tenant its own: tenants with the same
    /// namespace share claims, so one could mark another's event ids as handled. The layer does not check
    /// this. Keep the name stable: after a change, events that were handled before are handled again.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when the namespace is empty, longer than 255 bytes, or contains a control character.
    pub fn new(namespace: &str, secrets: impl Into<Secrets>) -> Result<Self, BuildError> {
        check_namespace(namespace)?;
        Ok(Self::with_decoys(namespace, secrets.into()))
    }

    /// A tenant whose secrets nobody knows.
    pub(super) fn unknown() -> Self {
        Self::with_decoys("unknown", DECOY.clone().into())
    }

    /// Adds a secret that nobody knows, so that the time tells nobody which tenants exist: at least two HMACs
    /// are computed for every tenant, known or not, with one secret or with two during a rotation.
    fn with_decoys(namespace: &str, mut secrets: Secrets) -> Self {
        if secrets.count() < 2 {
            secrets.extend([DECOY.clone()]);
        }
        Self { namespace: namespace.into(), secrets }
    }
}

/// Finds the tenant of a request, for
/// [`WebhookLayer::builder_for_tenants`](crate::WebhookLayer::builder_for_tenants).
///
/// [`TenantMap`] is the implementation in memory. Implement the trait for tenants in a database, or to choose
/// the tenant by something other than the path:
///
/// ```
/// use std::collections::HashMap;
/// use std::error::Error;
/// use roomz_webhook::{Tenant, TenantLookup, async_trait};
///
/// struct ByHost(HashMap<String, Tenant>);
///
/// #[async_trait]
/// impl TenantLookup for ByHost {
///     async fn lookup(
///         &self,
///         parts: &http::request::Parts,
///     ) -> Result<Option<Tenant>, Box<dyn Error + Send + Sync>> {
///         // HTTP/2 has the host in the URI, HTTP/1.1 in a header, possibly with a port.
///         let header = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
///         let host = parts.uri.host().or_else(|| header?.split(':').next());
///         Ok(host.and_then(|host| self.0.get(host).cloned()))
///     }
/// }
/// ```
///
/// The lookup runs before the signature is verified, so anybody can trigger it: answer from memory if you
/// can. If the list of tenants is confidential, take the same time for known and unknown tenants. The layer
/// computes two HMACs for each of them; a tenant with three or more secrets takes longer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot look up tenants",
    label = "expected `TenantMap`, or a type that implements `TenantLookup`",
    note = "implement `roomz_webhook::TenantLookup` with `#[roomz_webhook::async_trait]`"
)]
#[async_trait]
pub trait TenantLookup: Send + Sync + 'static {
    /// Returns the tenant of the request, or `None` if there is no such tenant.
    ///
    /// The parts are not verified. An unknown tenant is rejected with 401, exactly like a wrong signature.
    ///
    /// # Errors
    ///
    /// Any error when the tenant cannot be determined, for example because a database is down. The delivery
    /// is answered 503 with `Retry-After`. The error's text is written to the log, so it must not contain a
    /// secret.
    async fn lookup(&self, parts: &Parts) -> Result<Option<Tenant>, Box<dyn Error + Send + Sync>>;
}

/// Tenants in memory, by the path of the request.
///
/// A clone is a handle to the same map: add, replace and remove tenants while the layer runs.
///
/// ```
/// use roomz_webhook::{Secret, Secrets, Tenant, TenantMap, WebhookLayer};
///
/// let (acme, globex) = (Secret::new("the secret of acme")?, Secret::new("the secret of globex")?);
/// let tenants = TenantMap::new();
/// tenants.insert("/webhooks/acme", Tenant::new("acme", acme.clone())?)?;
/// tenants.insert("/webhooks/globex", Tenant::new("globex", globex)?)?;
/// let webhook = WebhookLayer::builder_for_tenants(tenants.clone()).build()?;
///
/// // Later: rotate the secret of one tenant.
/// let both = Secrets::new([Secret::new("the new secret of acme")?, acme])?;
/// tenants.insert("/webhooks/acme", Tenant::new("acme", both)?)?;
/// # drop(webhook);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TenantMap(Arc<RwLock<HashMap<Box<str>, Tenant>>>);

impl TenantMap {
    /// Creates an empty map. A layer without tenants rejects every delivery with 401.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the tenant of a path, or replaces it. The next delivery uses the new tenant.
    ///
    /// The path is compared as the layer sees it: not decoded, without the query, and without a prefix that a
    /// router removed. In `Router::new().nest("/webhooks", …)` the layer sees `/acme`, so insert `/acme`.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when no request can have the path.
    pub fn insert(&self, path: &str, tenant: Tenant) -> Result<(), BuildError> {
        check_path(path)?;
        super::warn_about_syntax(&tenant.secrets);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(path.into(), tenant);
        Ok(())
    }

    /// Replaces all tenants at once, for example after a configuration file changed. If a path appears twice,
    /// the last tenant is used.
    ///
    /// ```
    /// use roomz_webhook::{Secret, Tenant, TenantMap};
    ///
    /// let tenants = TenantMap::new();
    /// tenants.replace_all([
    ///     ("/webhooks/acme", Tenant::new("acme", Secret::new("the secret of acme")?)?),
    ///     ("/webhooks/globex", Tenant::new("globex", Secret::new("the secret of globex")?)?),
    /// ])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BuildError`] when no request can have one of the paths. The map is then unchanged.
    pub fn replace_all<P: AsRef<str>>(
        &self,
        tenants: impl IntoIterator<Item = (P, Tenant)>,
    ) -> Result<(), BuildError> {
        let mut all = HashMap::new();
        for (path, tenant) in tenants {
            check_path(path.as_ref())?;
            super::warn_about_syntax(&tenant.secrets);
            all.insert(path.as_ref().into(), tenant);
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(())
    }

    /// Removes the tenant of a path. Its next delivery is rejected with 401. Returns whether there was one.
    pub fn remove(&self, path: &str) -> bool {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(path).is_some()
    }
}

#[async_trait]
impl TenantLookup for TenantMap {
    async fn lookup(&self, parts: &Parts) -> Result<Option<Tenant>, Box<dyn Error + Send + Sync>> {
        let tenants = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok(tenants.get(parts.uri.path()).cloned())
    }
}

/// One for the process: a lookup can create its tenant for each request, and a new secret takes time.
#[expect(clippy::expect_used, reason = "32 hexadecimal digits are a valid secret")]
static DECOY: LazyLock<Secret> = LazyLock::new(|| {
    let random = format!("{:032x}", rand::random::<u128>());
    Secret::new(random).expect("32 hexadecimal digits are a valid secret")
});

#[cfg(test)]
mod tests {
    use super::*;

    /// The time of a rejection must not tell which tenants exist, or which of them rotate a secret.
    #[test]
    fn known_and_unknown_tenants_have_two_secrets() {
        let [first, second, third] = ["1", "2", "3"].map(|secret| Secret::new(secret).unwrap());
        let tenant = |secrets: Secrets| Tenant::new("acme", secrets).unwrap();
        assert_eq!(tenant(first.clone().into()).secrets.count(), 2);
        assert_eq!(tenant(Secrets::new([first.clone(), second.clone()]).unwrap()).secrets.count(), 2);
        assert_eq!(tenant(Secrets::new([first.clone(), second, third]).unwrap()).secrets.count(), 3);
        assert_eq!(Tenant::unknown().secrets.count(), 2);
        // The position is that of the secret that was given.
        assert_eq!(tenant(first.clone().into()).secrets.verify(b"{}", &first.sign(b"{}")), Ok(0));
    }
}
