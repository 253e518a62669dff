use redis::aio::ConnectionManager;
use redis::{ErrorKind, RedisError, ServerErrorKind};
use roomz_webhook::store::ConnectError;

use crate::backend::Backend;
use crate::errors::{connect_error, is_cluster_error, unsupported};

/// Checks each server: its version, its mode and its eviction policy.
pub(crate) async fn check_servers(backend: &Backend, is_eviction_allowed: bool) -> Result<(), ConnectError> {
    match backend {
        Backend::Server(connection) => {
            check_server(connection.manager(), "the Redis server", false, is_eviction_allowed).await
        }
        Backend::Cluster(cluster) => {
            for node in cluster.masters() {
                let name = format!("the Redis server {}", node.address);
                check_server(node.connection.manager(), &name, true, is_eviction_allowed).await?;
            }
            Ok(())
        }
    }
}

/// Checks one server. A user without permission for `INFO` skips the checks of version and eviction policy.
async fn check_server(
    mut manager: ConnectionManager,
    name: &str,
    is_cluster: bool,
    is_eviction_allowed: bool,
) -> Result<(), ConnectError> {
    let info = match read_info(&mut manager).await {
        Ok(info) => info,
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
            tracing::warn!(
                hint = "grant the user INFO, or check that the server has version 6.0 or later and evicts no keys",
                "version and eviction policy of the Redis server unknown",
            );
            return check_mode_without_info(&mut manager, is_cluster).await;
        }
        Err(error) => return Err(connect_error(error)),
    };
    let value = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
    };
    // Valkey reports in `redis_version` the version of Redis that it is compatible with.
    let version = value("redis_version");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < 6) {
        let message = format!("the version {version:?} of {name} is not supported; use 6.0 or later");
        return Err(unsupported(message));
    }
    // Valkey calls it `server_mode`.
    match (value("redis_mode"), value("server_mode")) {
        ("cluster", _) | (_, "cluster") if !is_cluster => return Err(is_cluster_error()),
        ("sentinel", _) | (_, "sentinel") => {
            let message = format!("{name} is a Redis Sentinel; use redis+sentinel://HOST:PORT/MASTER");
            return Err(unsupported(message));
        }
        _ => {}
    }
    let policy = value("maxmemory_policy");
    if value("maxmemory") == "0" || policy.is_empty() || policy == "noeviction" {
        return Ok(());
    }
    if !is_eviction_allowed {
        let message = format!(
            "{name} evicts keys when its memory is full (`maxmemory-policy` is {policy:?}), so it can lose claims; \
             set `maxmemory-policy noeviction`, or accept the loss with `with_eviction_allowed(true)`"
        );
        return Err(unsupported(message));
    }
    tracing::warn!(policy, hint = "set `maxmemory-policy noeviction`", "Redis server can evict live claims");
    Ok(())
}

/// Only a node of a cluster replies to `CLUSTER INFO`. Without permission for it, the self-test decides.
async fn check_mode_without_info(
    manager: &mut ConnectionManager,
    is_cluster: bool,
) -> Result<(), ConnectError> {
    let reply = redis::cmd("CLUSTER").arg("INFO").query_async::<String>(manager).await;
    if reply.is_ok() && !is_cluster { Err(is_cluster_error()) } else { Ok(()) }
}

/// `INFO` with two sections needs Redis 7.
async fn read_info(manager: &mut ConnectionManager) -> Result<String, RedisError> {
    let mut info = String::new();
    for section in ["server", "memory"] {
        info += &redis::cmd("INFO").arg(section).query_async::<String>(manager).await?;
    }
    Ok(info)
}
