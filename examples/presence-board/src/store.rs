//! Connects to the store for the ids of handled events, and for the presence if it is an SQL database.

use std::error::Error;
use std::sync::Arc;

use roomz_axum::store::{IdempotencyStore, MokaStore};
#[cfg(feature = "stores")]
use roomz_redis::RedisStore;
#[cfg(feature = "stores")]
use roomz_sql::SqlStore;

#[cfg(not(feature = "stores"))]
pub use crate::no_stores::SharedPresence;
#[cfg(feature = "stores")]
pub use crate::presence::SharedPresence;

/// The messages do not quote the URL, which may contain a password.
const UNSUPPORTED: &str = if cfg!(feature = "stores") {
    "unsupported store URL; use memory, redis://…, redis+cluster://…, redis+sentinel://…, postgres://… or \
     sqlite://FILE"
} else {
    "this program was built with the store `memory` only; build it with `--features stores`"
};

/// Connects to `memory`, `redis://…`, `redis+cluster://…`, `redis+sentinel://…`, `postgres://…` or
/// `sqlite://FILE`.
///
/// A service that uses one kind of store needs one of these arms, and only that store's crate.
pub async fn connect(
    url: &str,
) -> Result<(Arc<dyn IdempotencyStore>, Option<SharedPresence>), Box<dyn Error>> {
    match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
        "memory" => Ok((Arc::new(MokaStore::new()), None)),
        #[cfg(feature = "stores")]
        "redis" | "rediss" | "redis+cluster" | "rediss+cluster" | "redis+sentinel" | "rediss+sentinel" => {
            Ok((Arc::new(RedisStore::connect(url).await?), None))
        }
        #[cfg(feature = "stores")]
        "postgres" | "postgresql" | "sqlite" => {
            let store = SqlStore::connect(url).await?;
            Ok((Arc::new(store), Some(SharedPresence::open(url)?)))
        }
        _ => Err(UNSUPPORTED.into()),
    }
}

/// The URL of a store without user, password and parameters, for the log.
pub fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // Not a URL that `connect` accepts, except for these two.
        return if url == "memory" { url } else { "sqlite:…" }.to_owned();
    };
    let (place, parameters) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
    // Either a parameter contains an @, or a password contains a question mark: what follows may be a part of
    // it.
    if parameters.contains('@') {
        return format!("{scheme}://…");
    }
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    format!("{scheme}://{place}")
}
