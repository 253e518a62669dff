//! Where the ids of handled events are remembered, by URL.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use roomz_axum::store::IdempotencyStore;
use roomz_axum::store::MokaStore;
use roomz_redis::RedisStore;
use roomz_sql::SqlStore;

/// Connects to `memory`, `redis://…`, `postgres://…` or `sqlite://FILE`. A board that has settled on one kind needs
/// one arm and none of the other dependencies.
pub async fn connect(url: &str) -> Result<Arc<dyn IdempotencyStore>, Box<dyn Error>> {
    match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
        "memory" => Ok(Arc::new(MokaStore::new())),
        "redis" | "rediss" => Ok(Arc::new(RedisStore::connect(url).await?)),
        "postgres" | "postgresql" | "sqlite" => {
            let store = SqlStore::connect(url).await?;
            tokio::spawn(store.clone().purge_every(Duration::from_secs(10 * 60)));
            Ok(Arc::new(store))
        }
        // Not quoted: a URL may hold a password.
        _ => Err("not a store: give memory, redis://…, postgres://… or sqlite://FILE".into()),
    }
}
