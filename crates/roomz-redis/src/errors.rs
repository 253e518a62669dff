use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use roomz_webhook::store::{ConnectError, ConnectErrorKind};

/// The message names the scheme at most: the rest of the URL may contain a password.
pub(crate) fn invalid_url(url: &str, has_certificate: bool, error: RedisError) -> ConnectError {
    const SCHEMES: &[&str] = &["redis", "rediss", "valkey", "valkeys", "unix", "redis+unix", "valkey+unix"];
    let scheme = scheme(url);
    let base = scheme.map(|scheme| {
        scheme.strip_suffix("+cluster").or_else(|| scheme.strip_suffix("+sentinel")).unwrap_or(scheme)
    });
    let message = match (scheme, base) {
        (Some(scheme), Some(base)) if !SCHEMES.contains(&base) => {
            format!(
                "invalid Redis URL: unknown scheme {scheme:?}; use redis:// or rediss://, redis+cluster:// for a \
                 Redis Cluster, or redis+sentinel:// for Redis Sentinel"
            )
        }
        (Some(scheme), Some("rediss" | "valkeys")) if cfg!(not(feature = "tls")) => {
            format!("invalid Redis URL: {scheme}:// needs TLS; enable the feature `tls` of roomz-redis")
        }
        (Some(_), Some("rediss" | "valkeys")) if has_certificate => {
            "invalid root certificate; pass certificates in PEM format to `with_root_certificate`, and a URL \
             rediss://USER:PASSWORD@HOST:PORT/DATABASE"
                .into()
        }
        (Some(_), Some(_)) if has_certificate => {
            "invalid Redis URL: a root certificate needs TLS; use rediss://USER:PASSWORD@HOST:PORT/DATABASE"
                .into()
        }
        (Some(_), _) => "invalid Redis URL; use redis://USER:PASSWORD@HOST:PORT/DATABASE".into(),
        (None, _) => {
            "invalid Redis URL: the scheme is missing; use redis://HOST:PORT or rediss://HOST:PORT".into()
        }
    };
    ConnectError::new(ConnectErrorKind::InvalidUrl, message).with_source(error)
}

/// The scheme of a URL, unless it is not one: `user:password@host` has none.
fn scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once("://")?;
    let is_scheme =
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then_some(scheme)
}

/// The error of the first commands on a connection.
pub(crate) fn connect_error(error: RedisError) -> ConnectError {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
            let message =
                "the Redis server rejected the login; check the user, the password and the database number";
            ConnectError::new(ConnectErrorKind::LoginRejected, message).with_source(error)
        }
        _ if is_database_error(&error) => {
            let message = "the Redis server has no database with this number; use another one, or none in a Redis Cluster";
            ConnectError::new(ConnectErrorKind::LoginRejected, message).with_source(error)
        }
        (ErrorKind::InvalidClientConfig, _) => {
            let message = "invalid Redis URL; use redis://USER:PASSWORD@HOST:PORT/DATABASE";
            ConnectError::new(ConnectErrorKind::InvalidUrl, message).with_source(error)
        }
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => permission_error(error),
        _ if is_tls_error(&error) => {
            let message = "cannot encrypt the connection to the Redis server; check that its certificate is valid for \
                           the host of the URL, and pass the certificate of a private authority to \
                           `with_root_certificate`";
            ConnectError::new(ConnectErrorKind::Tls, message).with_source(error)
        }
        _ => unreachable_error(error),
    }
}

pub(crate) fn unreachable_error(error: RedisError) -> ConnectError {
    let message = "cannot reach the Redis server; check that it runs and that host and port are correct";
    ConnectError::new(ConnectErrorKind::Unreachable, message).with_source(error)
}

pub(crate) fn permission_error(error: RedisError) -> ConnectError {
    let message = "the Redis server does not permit what the store needs; grant the user EVALSHA, SCRIPT LOAD, SET, \
                   GET, PTTL and PEXPIRE on keys with the store's prefix, for a database other than 0 also SELECT, in a \
                   cluster also CLUSTER SLOTS and ASKING, and check that the server accepts writes";
    ConnectError::new(ConnectErrorKind::PermissionDenied, message).with_source(error)
}

pub(crate) fn unsupported(message: impl Into<String>) -> ConnectError {
    ConnectError::new(ConnectErrorKind::Unsupported, message.into())
}

/// The server is a node of a Redis Cluster, and the URL names one server.
pub(crate) fn is_cluster_error() -> ConnectError {
    unsupported("the Redis server is a node of a Redis Cluster; use redis+cluster://HOST:PORT")
}

/// The self-test was redirected, or the cluster is down.
pub(crate) fn redirected_error(error: RedisError) -> ConnectError {
    if error.kind() == ErrorKind::Server(ServerErrorKind::ClusterDown) {
        let message = "the Redis Cluster is down; check it with `redis-cli --cluster check HOST:PORT`";
        return ConnectError::new(ConnectErrorKind::Unreachable, message).with_source(error);
    }
    is_cluster_error().with_source(error)
}

/// The error of asking a node of a cluster for the slots.
pub(crate) fn cluster_error(error: RedisError) -> ConnectError {
    if is_unknown_command(&error) {
        let message = "the Redis server is not a node of a Redis Cluster; use redis://HOST:PORT";
        return unsupported(message).with_source(error);
    }
    if error.kind() == ErrorKind::ClusterConnectionNotFound {
        let message = "the Redis Cluster has no slots; assign them with `redis-cli --cluster create`";
        return unsupported(message).with_source(error);
    }
    connect_error(error)
}

/// The error of asking sentinels for this master.
pub(crate) fn sentinel_error(error: RedisError, master: &str) -> ConnectError {
    if error.kind() == ErrorKind::MasterNameNotFoundBySentinel {
        let message = format!(
            "the Redis Sentinels do not monitor a master with the name {master:?}; check the name in \
             redis+sentinel://HOST:PORT/MASTER"
        );
        return ConnectError::new(ConnectErrorKind::InvalidUrl, message);
    }
    if is_unknown_command(&error) {
        let message = "the Redis server is not a Redis Sentinel; use redis://HOST:PORT";
        return unsupported(message).with_source(error);
    }
    if error.code() == Some("READONLY") {
        let message = "the Redis Sentinels name no master that accepts writes; try again after the failover";
        return ConnectError::new(ConnectErrorKind::Unreachable, message).with_source(error);
    }
    connect_error(error)
}

/// Whether the server does not have the command, or its mode does not support it.
fn is_unknown_command(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default();
    error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
        && (detail.starts_with("unknown command") || detail.contains("cluster support disabled"))
}

/// Whether the server has no database with the number of the URL. A cluster has only database 0.
fn is_database_error(error: &RedisError) -> bool {
    error
        .detail()
        .is_some_and(|detail| detail.contains("SELECT is not allowed") || detail.contains("DB index"))
}

/// rustls reports a failed handshake as invalid data.
fn is_tls_error(error: &RedisError) -> bool {
    type SharedError = Arc<dyn Error + Send + Sync>;
    let source = error.source().and_then(|source| source.downcast_ref::<SharedError>());
    let source = source.and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
}
