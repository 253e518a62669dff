use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind as Server};
use roomz_webhook::store::{ConnectError, ConnectErrorKind as Kind};

/// The role of a server in messages.
pub(crate) const SENTINEL: &str = "the Redis Sentinel";

const NO_PERMISSION: &str = "does not permit what the store needs; grant the user EVALSHA, SCRIPT LOAD, \
    SET, GET, PTTL and PEXPIRE on keys with the store's prefix, for a database other than 0 also SELECT, in a cluster also \
    CLUSTER SLOTS and ASKING, and check that the server accepts writes";

const NO_SENTINEL_PERMISSION: &str =
    "does not permit what the store needs; grant the user SENTINEL GET-MASTER-ADDR-BY-NAME";

/// The server is a node of a Redis Cluster, and the URL names one server.
pub(crate) const IS_CLUSTER: &str = "is a node of a Redis Cluster; use redis+cluster://HOST:PORT";

/// The error of one server.
#[derive(Debug, thiserror::Error)]
#[error("{server} failed")]
pub(crate) struct ServerError {
    /// Its role and address, such as `the Redis master 10.0.0.1:6379`.
    pub(crate) server: Arc<str>,
    #[source]
    pub(crate) error: RedisError,
}

/// The error of the first commands on a connection.
pub(crate) fn connect_error(ServerError { server, error }: ServerError) -> ConnectError {
    let detail = error.detail().unwrap_or_default();
    let says = |texts: &[&str]| texts.iter().any(|text| detail.contains(text));
    let is_sentinel = server.starts_with(SENTINEL);
    let (kind, problem) = match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
            let problem = if is_sentinel {
                "rejected the login; a login of the sentinels that is not that of the master belongs at the end of the \
                 URL: ?sentinel_username=USER&sentinel_password=PASSWORD"
            } else {
                "rejected the login; check the user, the password and the database number"
            };
            (Kind::LoginRejected, problem)
        }
        // A cluster has only database 0.
        _ if says(&["SELECT is not allowed", "DB index"]) => (
            Kind::LoginRejected,
            "has no database with this number; use another one, or none in a Redis Cluster",
        ),
        (ErrorKind::InvalidClientConfig, _) => {
            (Kind::InvalidUrl, "has an invalid URL; use redis://USER:PASSWORD@HOST:PORT/DATABASE")
        }
        (ErrorKind::Server(Server::NoPerm), _) => {
            (Kind::PermissionDenied, if is_sentinel { NO_SENTINEL_PERMISSION } else { NO_PERMISSION })
        }
        (ErrorKind::Server(Server::Moved | Server::Ask), _) => (Kind::Unsupported, IS_CLUSTER),
        (ErrorKind::Server(Server::ClusterDown), _) => (
            Kind::Unreachable,
            "says that the cluster is down; check it with `redis-cli --cluster check HOST:PORT`",
        ),
        (ErrorKind::ClusterConnectionNotFound, _) => (
            Kind::Unsupported,
            "says that the cluster has no slots; assign them with `redis-cli --cluster create`",
        ),
        (ErrorKind::MasterNameNotFoundBySentinel, _) => {
            let message = format!(
                "{server} does not monitor a master with the name {detail:?}; check the name in \
                 redis+sentinel://HOST:PORT/MASTER"
            );
            return ConnectError::new(Kind::InvalidUrl, message);
        }
        (ErrorKind::Server(Server::MasterDown), _) => {
            (Kind::Unreachable, "is a replica, and no master accepts writes; try again after the failover")
        }
        // The reply to the first command in a cluster, and of sentinels.
        (ErrorKind::Server(Server::ResponseError), _)
            if says(&["CLUSTER", "SENTINEL", "cluster support disabled"]) =>
        {
            (
                Kind::Unsupported,
                "is another server than the URL says, no node of a cluster and no sentinel; use redis://HOST:PORT",
            )
        }
        _ if is_tls_error(&error) => (
            Kind::Tls,
            "cannot encrypt the connection; check that its certificate is valid for this address or for the host of \
             the URL, and pass the certificate of a private authority to `with_root_certificate`",
        ),
        _ => (Kind::Unreachable, "is not reachable; check that it runs and that host and port are correct"),
    };
    ConnectError::new(kind, format!("{server} {problem}")).with_source(error)
}

/// The error of executing the store's commands.
pub(crate) fn self_test_error(error: ServerError) -> ConnectError {
    if error.error.is_io_error() || error.error.is_cluster_error() {
        return connect_error(error);
    }
    let ServerError { server, error } = error;
    ConnectError::new(Kind::PermissionDenied, format!("{server} {NO_PERMISSION}")).with_source(error)
}

/// Whether the server has no free memory for a claim. Redis 6 says it inside the text of a script error.
pub(crate) fn is_full(error: &RedisError) -> bool {
    error.code() == Some("OOM") || error.detail().is_some_and(|detail| detail.contains("-OOM "))
}

/// Whether the server refuses writes: it is full, a replica, without enough replicas, or cannot save to its
/// disk.
pub(crate) fn is_refused_write(error: &RedisError) -> bool {
    is_full(error) || matches!(error.code(), Some("READONLY" | "NOREPLICAS" | "MISCONF"))
}

/// rustls reports a failed handshake as invalid data.
pub(crate) fn is_tls_error(error: &RedisError) -> bool {
    type SharedError = Arc<dyn Error + Send + Sync>;
    let source = error.source().and_then(|source| source.downcast_ref::<SharedError>());
    let source = source.and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
pub(crate) mod tests {
    use redis::Value;

    use super::*;

    /// The error of a reply.
    pub(crate) fn reply(text: &str) -> RedisError {
        redis::parse_redis_value(format!("-{text}\r\n").as_bytes())
            .and_then(Value::extract_error)
            .unwrap_err()
    }

    #[test]
    fn errors_have_kinds_and_advice() {
        let not_found = |kind| RedisError::from((kind, "not found"));
        for (error, kind, advice) in [
            (reply("NOAUTH Authentication required."), Kind::LoginRejected, "check the user"),
            (reply("WRONGPASS invalid username-password pair"), Kind::LoginRejected, "check the user"),
            (reply("ERR DB index is out of range"), Kind::LoginRejected, "no database with this number"),
            (reply("ERR SELECT is not allowed in cluster mode"), Kind::LoginRejected, "no database"),
            (not_found(ErrorKind::InvalidClientConfig), Kind::InvalidUrl, "invalid URL"),
            (reply("NOPERM no permissions to run 'set'"), Kind::PermissionDenied, "grant the user EVALSHA"),
            (reply("MOVED 1 10.0.0.1:6379"), Kind::Unsupported, "use redis+cluster://"),
            (reply("ASK 1 10.0.0.1:6379"), Kind::Unsupported, "use redis+cluster://"),
            (reply("CLUSTERDOWN The cluster is down"), Kind::Unreachable, "--cluster check"),
            (not_found(ErrorKind::ClusterConnectionNotFound), Kind::Unsupported, "--cluster create"),
            (not_found(ErrorKind::MasterNameNotFoundBySentinel), Kind::InvalidUrl, "does not monitor"),
            (reply("MASTERDOWN Link with MASTER is down"), Kind::Unreachable, "after the failover"),
            (
                reply("ERR This instance has cluster support disabled"),
                Kind::Unsupported,
                "no node of a cluster",
            ),
            (reply("ERR unknown command 'SENTINEL'"), Kind::Unsupported, "no sentinel"),
            (reply("ERR anything else"), Kind::Unreachable, "check that it runs"),
            (
                io::Error::from(io::ErrorKind::ConnectionRefused).into(),
                Kind::Unreachable,
                "check that it runs",
            ),
        ] {
            let error = connect_error(ServerError { server: "the Redis server".into(), error });
            assert!(error.kind() == kind && error.to_string().contains(advice), "{error:?}");
        }
        let error =
            connect_error(ServerError { server: SENTINEL.into(), error: reply("NOPERM no permission") });
        assert!(error.to_string().contains("GET-MASTER-ADDR-BY-NAME"), "{error}");
    }

    /// A claim that the server refuses to write may still be one of a done event.
    #[test]
    fn refused_writes_are_known() {
        let full =
            [reply("OOM command not allowed"), reply("ERR Error running script: -OOM command not allowed")];
        assert!(full.iter().all(is_full) && full.iter().all(is_refused_write));
        for code in ["READONLY", "NOREPLICAS", "MISCONF"] {
            let error = reply(&format!("{code} it refuses writes"));
            assert!(is_refused_write(&error) && !is_full(&error), "{error}");
        }
        assert!(!is_refused_write(&reply("NOPERM no permissions to run 'set'")));
    }
}
