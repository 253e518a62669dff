use std::error::Error;
use std::sync::Arc;

use http::request::Parts;
use roomz_protocol::Secrets;
use tokio::time::timeout;

use crate::config::{Config, SecretSource};
use crate::panic::{Panicked, catch_panic};
use crate::response::{EarlyResponse, RejectionKind};
use crate::telemetry;
use crate::tenant::Tenant;

/// The namespace and the secrets of one request.
pub(crate) struct Credentials {
    /// `None` for an unknown tenant: no signature is valid then.
    pub(crate) namespace: Option<Arc<str>>,
    pub(crate) secrets: Secrets,
    /// A secret whose result is ignored, so that the time tells nobody which tenants exist: at least two HMACs are computed for
    /// every tenant, known or not, with one secret or with two during a rotation.
    pub(crate) padding: Option<Secrets>,
}

/// Returns the secrets and the namespace for a request. With tenants, looks up the tenant.
pub(crate) async fn find(head: &Parts, config: &Config) -> Result<Credentials, EarlyResponse> {
    let (lookup, unknown, errors) = match &config.secrets {
        SecretSource::Fixed(secrets) => {
            let namespace = Some(Arc::clone(&config.namespace));
            return Ok(Credentials { namespace, secrets: secrets.get(), padding: None });
        }
        SecretSource::Tenants { lookup, unknown, errors } => (lookup, unknown, errors),
    };
    // Called inside the future, so that a panic before `lookup` returns its future is caught too.
    let lookup = catch_panic(async { lookup.lookup(head).await });
    let found: Result<Option<Tenant>, Box<dyn Error + Send + Sync>> =
        match timeout(config.lookup_timeout, lookup).await {
            Ok(Ok(found)) => found,
            Ok(Err(Panicked)) => Err("the lookup panicked".into()),
            Err(_) => Err("the lookup did not end in time".into()),
        };
    match found {
        Ok(Some(tenant)) => {
            let (namespace, secrets) = tenant.into_parts();
            let padding = (secrets.count() < 2).then(|| unknown.clone());
            Ok(Credentials { namespace: Some(namespace), secrets, padding })
        }
        // The body is read and verified like any other, so that nobody learns which tenants exist.
        Ok(None) => {
            telemetry::tenant_unknown();
            Ok(Credentials { namespace: None, secrets: unknown.clone(), padding: Some(unknown.clone()) })
        }
        Err(error) => {
            let is_error = errors.count(config.clock.monotonic()).is_some();
            telemetry::tenant_lookup_failed(is_error, &*error);
            Err(EarlyResponse::rejected(RejectionKind::TenantLookupFailed, config.retry_after))
        }
    }
}
