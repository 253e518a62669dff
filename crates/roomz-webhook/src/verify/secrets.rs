use std::sync::Arc;

use http::request::Parts;
use roomz_protocol::Secrets;
use tokio::time::timeout;

use crate::call::{Panicked, catch_panic};
use crate::config::Config;
use crate::response::{Rejection, RejectionKind};
use crate::secrets::{SecretSource, Tenant};
use crate::telemetry;

/// Returns the namespace and the secrets for a request. With tenants, looks up the tenant.
pub(crate) async fn find(head: &Parts, config: &Config) -> Result<(Arc<str>, Secrets), Rejection> {
    let (lookup, unknown, errors) = match &config.secrets {
        SecretSource::Fixed(secrets) => return Ok((Arc::clone(&config.namespace), secrets.get())),
        SecretSource::Tenants { lookup, unknown, errors } => (lookup, unknown, errors),
    };
    // Called inside the future, so that a panic before `lookup` returns its future is caught too.
    let lookup = catch_panic(async { lookup.lookup(head).await });
    let found = match timeout(config.store.timeout, lookup).await {
        Ok(Ok(found)) => found,
        Ok(Err(Panicked)) => Err("the lookup panicked".into()),
        Err(_) => Err("the lookup did not end in time".into()),
    };
    let Tenant { namespace, secrets } = match found {
        Ok(Some(tenant)) => tenant,
        // The body is read and verified like any other, so that nobody learns which tenants exist.
        Ok(None) => {
            telemetry::tenant_unknown();
            unknown.clone()
        }
        Err(error) => {
            let is_error = errors.count(config.clock.monotonic()).is_some();
            telemetry::tenant_lookup_failed(is_error, &*error);
            return Err(RejectionKind::TenantLookupFailed.into());
        }
    };
    Ok((namespace, secrets))
}
