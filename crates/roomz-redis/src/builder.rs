use std::fmt;
use std::time::Duration;

use redis::aio::ConnectionManagerConfig;
use redis::{Client, ErrorKind, RedisError, ServerErrorKind};

use crate::connection::Connection;
use crate::server::{Server, Source};
use crate::store::{RedisStore, is_full};
use roomz_webhook::store::{ConnectError, ConnectErrorKind};

impl RedisStore {
    /// Connects to a server with the default settings.
    ///
    /// Accepts everything that names a server: a URL, a [`redis::Client`], or a [`redis::aio::ConnectionManager`] (see
    /// [`Server`]).
    ///
    /// ```no_run
    /// use roomz_redis::RedisStore;
    ///
    /// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = RedisStore::connect(&std::env::var("REDIS_URL")?).await?;
    /// # drop(store);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`RedisStoreBuilder::connect`].
    pub async fn connect(server: impl Into<Server>) -> Result<Self, ConnectError> {
        Self::builder(server).connect().await
    }

    /// Creates a builder for a store on this server, with the default settings.
    ///
    /// ```no_run
    /// use roomz_redis::RedisStore;
    ///
    /// # async fn connect() -> Result<(), roomz_redis::ConnectError> {
    /// let store = RedisStore::builder("redis://127.0.0.1:6379").with_prefix("floor-plan").connect().await?;
    /// # drop(store);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(server: impl Into<Server>) -> RedisStoreBuilder {
        RedisStoreBuilder {
            server: server.into(),
            prefix: "roomz".to_owned(),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_millis(1_500),
            is_eviction_allowed: false,
        }
    }
}

/// Builds a [`RedisStore`]. Every setting has a default.
///
/// ```no_run
/// use std::time::Duration;
/// use roomz_redis::RedisStore;
///
/// # async fn connect() -> Result<(), roomz_redis::ConnectError> {
/// let store = RedisStore::builder("redis://127.0.0.1:6379")
///     .with_prefix("floor-plan")
///     .with_response_timeout(Duration::from_millis(500))
///     .connect()
///     .await?;
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[must_use = "call `connect` to get the store"]
pub struct RedisStoreBuilder {
    server: Server,
    prefix: String,
    connect_timeout: Duration,
    response_timeout: Duration,
    is_eviction_allowed: bool,
}

impl RedisStoreBuilder {
    /// Sets the prefix of the keys `PREFIX:NAMESPACE:ID`. Default: `roomz`.
    ///
    /// Change it if other applications use the same database, or if the server's ACL requires it.
    ///
    /// ```
    /// # use roomz_redis::RedisStore;
    /// let builder = RedisStore::builder("redis://127.0.0.1").with_prefix("floor-plan");
    /// # drop(builder);
    /// ```
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Sets the timeout for connecting. Default: 2 s.
    ///
    /// Raise it if the server is far away. No effect on an existing `ConnectionManager`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_redis::RedisStore;
    /// let builder = RedisStore::builder("redis://127.0.0.1").with_connect_timeout(Duration::from_secs(5));
    /// # drop(builder);
    /// ```
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the timeout for one reply of the server. Default: 1.5 s.
    ///
    /// Keep it below the layer's store timeout (2 s by default). No effect on an existing `ConnectionManager`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_redis::RedisStore;
    /// let builder = RedisStore::builder("redis://127.0.0.1").with_response_timeout(Duration::from_millis(500));
    /// # drop(builder);
    /// ```
    pub fn with_response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// Sets whether `connect` accepts a server that evicts keys when its memory is full. Default: `false`.
    ///
    /// With a `maxmemory` and another `maxmemory-policy` than `noeviction`, the server can evict live claims and handled
    /// ids, and their duplicates run again. Allow it only if a repeated event is harmless; `connect` then logs a warning.
    ///
    /// ```
    /// # use roomz_redis::RedisStore;
    /// let builder = RedisStore::builder("redis://127.0.0.1").with_eviction_allowed(true);
    /// # drop(builder);
    /// ```
    pub const fn with_eviction_allowed(mut self, allowed: bool) -> Self {
        self.is_eviction_allowed = allowed;
        self
    }

    /// Connects, and checks that the store can use the server: its version and eviction policy, the user's permissions, and
    /// one write.
    ///
    /// ```no_run
    /// use roomz_redis::{ConnectErrorKind, RedisStore};
    ///
    /// # async fn connect() {
    /// match RedisStore::builder("redis://127.0.0.1:6379").connect().await {
    ///     Ok(store) => drop(store),
    ///     Err(error) if error.kind() == ConnectErrorKind::Unreachable => eprintln!("try again later: {error}"),
    ///     Err(error) => eprintln!("{error}"),
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if the URL is invalid, the server cannot be reached, it rejects the login, it is older than
    /// Redis 6.0, it evicts keys, or it does not permit the user to run the store's scripts or to write.
    pub async fn connect(self) -> Result<RedisStore, ConnectError> {
        let connection = match self.server.0 {
            Source::ConnectionManager(manager) => Connection::from_manager(manager),
            Source::Client(client) => open(*client, self.connect_timeout, self.response_timeout).await?,
            Source::Url(url) => {
                let client = Client::open(url.as_str()).map_err(|error| invalid_url(&url, error))?;
                open(client, self.connect_timeout, self.response_timeout).await?
            }
        };
        check_server(&connection, self.is_eviction_allowed).await?;
        let store = RedisStore::new(connection, self.prefix);
        match store.self_test().await {
            Ok(()) => {}
            // The store still recognises handled ids, and accepts new claims once memory is free.
            Err(error) if is_full(&error) => {
                tracing::warn!(hint = "new claims fail until memory is free", "Redis server full");
            }
            Err(error) if error.is_io_error() => return Err(unreachable_error(error)),
            Err(error) => return Err(permission_error(error)),
        }
        Ok(store)
    }
}

async fn open(
    client: Client,
    connect_timeout: Duration,
    response_timeout: Duration,
) -> Result<Connection, ConnectError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(connect_timeout))
        .set_response_timeout(Some(response_timeout))
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_secs(1));
    let silence_timeout = connect_timeout.saturating_add(response_timeout);
    Connection::connect(client, config, silence_timeout).await.map_err(connect_error)
}

/// Checks the version and the eviction policy. A user without permission for `INFO` skips both checks.
async fn check_server(connection: &Connection, is_eviction_allowed: bool) -> Result<(), ConnectError> {
    let info = match read_info(connection).await {
        Ok(info) => info,
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
            tracing::warn!(
                hint = "grant the user INFO, or check that the server has version 6.0 or later and evicts no keys",
                "version and eviction policy of the Redis server unknown",
            );
            return Ok(());
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
        let message = format!("Redis server version {version:?} is not supported; use 6.0 or later");
        return Err(ConnectError::new(ConnectErrorKind::Unsupported, message));
    }
    let policy = value("maxmemory_policy");
    if value("maxmemory") == "0" || policy.is_empty() || policy == "noeviction" {
        return Ok(());
    }
    if !is_eviction_allowed {
        let message = format!(
            "the Redis server evicts keys when its memory is full (`maxmemory-policy` is {policy:?}), so it can lose claims; \
             set `maxmemory-policy noeviction`, or accept the loss with `with_eviction_allowed(true)`"
        );
        return Err(ConnectError::new(ConnectErrorKind::Unsupported, message));
    }
    tracing::warn!(policy, hint = "set `maxmemory-policy noeviction`", "Redis server can evict live claims");
    Ok(())
}

/// `INFO` with two sections needs Redis 7.
async fn read_info(connection: &Connection) -> Result<String, RedisError> {
    let mut info = String::new();
    for section in ["server", "memory"] {
        info += &redis::cmd("INFO").arg(section).query_async::<String>(&mut connection.manager()).await?;
    }
    Ok(info)
}

/// The message names the scheme at most: the rest of the URL may contain a password.
fn invalid_url(url: &str, error: RedisError) -> ConnectError {
    const SCHEMES: &[&str] = &["redis", "rediss", "valkey", "valkeys", "unix", "redis+unix", "valkey+unix"];
    let message = match scheme(url) {
        None => {
            "invalid Redis URL: the scheme is missing; use redis://HOST:PORT or rediss://HOST:PORT".into()
        }
        Some(scheme) if !SCHEMES.contains(&scheme) => {
            format!("invalid Redis URL: unknown scheme {scheme:?}; use redis:// or rediss://")
        }
        Some(scheme @ ("rediss" | "valkeys")) if cfg!(not(feature = "tls")) => {
            format!("invalid Redis URL: {scheme}:// needs TLS; enable the feature `tls` of roomz-redis")
        }
        Some(_) => "invalid Redis URL; use redis://USER:PASSWORD@HOST:PORT/DATABASE".into(),
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

fn connect_error(error: RedisError) -> ConnectError {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
            let message =
                "the Redis server rejected the login; check the user, the password and the database number";
            ConnectError::new(ConnectErrorKind::LoginRejected, message).with_source(error)
        }
        (ErrorKind::InvalidClientConfig, _) => {
            let message = "invalid Redis URL; use redis://USER:PASSWORD@HOST:PORT/DATABASE";
            ConnectError::new(ConnectErrorKind::InvalidUrl, message).with_source(error)
        }
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => permission_error(error),
        _ => unreachable_error(error),
    }
}

fn unreachable_error(error: RedisError) -> ConnectError {
    let message = "cannot reach the Redis server; check that it runs and that host and port are correct";
    ConnectError::new(ConnectErrorKind::Unreachable, message).with_source(error)
}

fn permission_error(error: RedisError) -> ConnectError {
    let message = "the Redis server does not permit what the store needs; grant the user EVALSHA, EVAL, SCRIPT LOAD, \
                   TIME, HSET, HMGET, HDEL, PTTL and PEXPIRE on keys with the store's prefix, and check that the \
                   server accepts writes";
    ConnectError::new(ConnectErrorKind::PermissionDenied, message).with_source(error)
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder")
            .field("server", &self.server)
            .field("prefix", &self.prefix)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("is_eviction_allowed", &self.is_eviction_allowed)
            .finish()
    }
}
