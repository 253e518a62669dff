use std::sync::Arc;

use redis::{ErrorKind, ServerErrorKind};
use roomz_webhook::store::ConnectError;

use crate::endpoint::Manager;
use crate::errors::{IS_CLUSTER, ServerError, connect_error, unsupported};

/// Checks a server: its version, its mode and its eviction policy. `name` is its name in messages.
pub(crate) async fn check_server(
    name: Arc<str>,
    mut manager: Manager,
    is_cluster: bool,
    is_eviction_allowed: bool,
) -> Result<(), ConnectError> {
    let mut info = String::new();
    // `INFO` with two sections needs Redis 7.
    for section in ["server", "memory"] {
        match redis::cmd("INFO").arg(section).query_async::<String>(&mut manager).await {
            Ok(text) => info += &text,
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
                tracing::warn!(
                    hint = "grant the user INFO, or check that the server has version 6.0 or later and evicts no keys",
                    "version and eviction policy of the Redis server unknown",
                );
                // Only a node of a cluster replies. Without permission for it, the self-test decides.
                let reply = redis::cmd("CLUSTER").arg("INFO").query_async::<String>(&mut manager).await;
                return if reply.is_ok() && !is_cluster {
                    Err(unsupported(format!("{name} {IS_CLUSTER}")))
                } else {
                    Ok(())
                };
            }
            Err(error) => return Err(connect_error(ServerError { server: name, error })),
        }
    }
    let value = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
    };
    // Valkey reports in `redis_version` the version of Redis that it is compatible with, and its mode in
    // `server_mode`.
    let (version, mode) = (value("redis_version"), [value("redis_mode"), value("server_mode")]);
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < 6) {
        let message = format!("the version {version:?} of {name} is not supported; use 6.0 or later");
        return Err(unsupported(message));
    }
    if mode.contains(&"cluster") && !is_cluster {
        return Err(unsupported(format!("{name} {IS_CLUSTER}")));
    }
    if mode.contains(&"sentinel") {
        let message = format!("{name} is a Redis Sentinel; use redis+sentinel://HOST:PORT/MASTER");
        return Err(unsupported(message));
    }
    let policy = value("maxmemory_policy");
    if value("maxmemory") == "0" || policy.is_empty() || policy == "noeviction" {
        return Ok(());
    }
    if !is_eviction_allowed {
        return Err(unsupported(format!(
            "{name} evicts keys when its memory is full (`maxmemory-policy` is {policy:?}), so it can lose claims; \
             set `maxmemory-policy noeviction`, or accept the loss with `with_eviction_allowed(true)`"
        )));
    }
    tracing::warn!(policy, hint = "set `maxmemory-policy noeviction`", "Redis server can evict live claims");
    Ok(())
}
