use redis::{ErrorKind, ServerErrorKind};
use roomz_webhook::store::{ConnectError, ConnectErrorKind};

use crate::connection::{Call, Connection};
use crate::errors::{IS_CLUSTER, ServerError, connect_error};

/// Checks a server: its version, its mode and its eviction policy.
pub(crate) async fn check_server(
    connection: &Connection,
    is_cluster: bool,
    is_eviction_allowed: bool,
) -> Result<(), ConnectError> {
    let name = connection.server();
    let unsupported =
        |problem: &str| Err(ConnectError::new(ConnectErrorKind::Unsupported, format!("{name} {problem}")));
    let info: String = match connection.send(&Call::command(&["INFO"])).await {
        Ok(info) => info,
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
            tracing::warn!(
                hint = "grant the user INFO, or check that the server has version 6.0 or later and evicts no keys",
                "version and eviction policy of the Redis server unknown",
            );
            // Only a node of a cluster replies. Without permission for it, the self-test decides.
            let reply = connection.send::<String>(&Call::command(&["CLUSTER", "INFO"])).await;
            return if reply.is_ok() && !is_cluster { unsupported(IS_CLUSTER) } else { Ok(()) };
        }
        Err(error) => return Err(connect_error(ServerError { server: name.clone(), error })),
    };
    let value = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
    };
    // Valkey reports in `redis_version` the version of Redis that it is compatible with, and its mode in
    // `server_mode`.
    let (version, mode) = (value("redis_version"), [value("redis_mode"), value("server_mode")]);
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < 6) {
        return unsupported(&format!("has the unsupported version {version:?}; use 6.0 or later"));
    }
    if mode.contains(&"cluster") && !is_cluster {
        return unsupported(IS_CLUSTER);
    }
    if mode.contains(&"sentinel") {
        return unsupported("is a Redis Sentinel; use redis+sentinel://HOST:PORT/MASTER");
    }
    let policy = value("maxmemory_policy");
    if value("maxmemory") == "0" || policy.is_empty() || policy == "noeviction" {
        return Ok(());
    }
    if !is_eviction_allowed {
        return unsupported(&format!(
            "evicts keys when its memory is full (`maxmemory-policy` is {policy:?}), so it can lose claims; \
             set `maxmemory-policy noeviction`, or accept the loss with `with_eviction_allowed(true)`"
        ));
    }
    tracing::warn!(policy, hint = "set `maxmemory-policy noeviction`", "Redis server can evict live claims");
    Ok(())
}
