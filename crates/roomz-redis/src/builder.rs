use std::time::Duration;

use crate::check::check_server;
use crate::errors::{is_full, self_test_error};
use crate::server::{Server, Source};
use crate::store::{Backend, RedisStore};
use crate::url;
use roomz_webhook::store::ConnectError;

impl RedisStore {
    /// Connects to a server with the default settings.
    ///
    /// Accepts everything that names a server: a URL, or a [`redis::Client`] (see [`Server`]).
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
            timeout: Duration::from_millis(1_500),
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
///     .with_timeout(Duration::from_millis(500))
///     .connect()
///     .await?;
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "call `connect` to get the store"]
pub struct RedisStoreBuilder {
    server: Server,
    prefix: String,
    timeout: Duration,
    is_eviction_allowed: bool,
}

impl RedisStoreBuilder {
    /// Sets the prefix of the keys `PREFIX:NAMESPACE:ID`. Default: `roomz`.
    ///
    /// Change it if other applications use the same database, or if the server's ACL requires it. With a hash
    /// tag, such as `{roomz}`, one master of a cluster has all claims.
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

    /// Sets the timeout for an attempt to connect, and for one reply of the server. Default: 1.5 s.
    ///
    /// Keep it below the layer's store timeout (2 s by default).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_redis::RedisStore;
    /// let builder = RedisStore::builder("redis://127.0.0.1").with_timeout(Duration::from_millis(500));
    /// # drop(builder);
    /// ```
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets whether `connect` accepts a server that evicts keys when its memory is full. Default: `false`.
    ///
    /// With a `maxmemory` and another `maxmemory-policy` than `noeviction`, the server can evict live claims
    /// and handled ids, and their duplicates run again. Allow it only if a repeated event is harmless;
    /// `connect` then logs a warning.
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

    /// Sets the root certificates in PEM format, for servers with a certificate of a private authority.
    /// Default: the certificates of the operating system.
    ///
    /// Needs a URL with TLS, such as `rediss://`. No effect on an existing client.
    ///
    /// ```no_run
    /// # use roomz_redis::RedisStore;
    /// # fn build() -> std::io::Result<()> {
    /// let certificate = std::fs::read("/etc/ssl/private-ca.pem")?;
    /// let builder = RedisStore::builder("rediss://redis.internal:6379").with_root_certificate(certificate);
    /// # drop(builder);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn with_root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.server.root_certificate = Some(pem.into());
        self
    }

    /// Connects, and checks that the store can use the server: its version and eviction policy, the user's
    /// permissions, and one write. In a cluster, it checks each master.
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
    /// [`ConnectError`] if the URL is invalid or does not fit the server's mode (one server, cluster or
    /// sentinel), the server cannot be reached, its certificate is not valid, it rejects the login, it is
    /// older than Redis 6.0, it evicts keys, or it does not permit the user to run the store's scripts or to
    /// write.
    pub async fn connect(self) -> Result<RedisStore, ConnectError> {
        #[cfg(feature = "tls")]
        url::select_cryptography();
        let Server { source, root_certificate } = self.server;
        let backend = match source {
            Source::Url(url) => url::connect(&url, root_certificate.as_deref(), self.timeout).await?,
            Source::Client(client) => Backend::server(*client, self.timeout),
        };
        let is_cluster = matches!(backend, Backend::Cluster(_));
        let store = RedisStore::new(backend, &self.prefix);
        for (key, connection) in store.masters() {
            check_server(&connection, is_cluster, self.is_eviction_allowed).await?;
            match store.self_test(&key).await {
                // The store still recognises handled ids, and accepts new claims once memory is free.
                Err(error) if is_full(&error.error) => {
                    tracing::warn!(hint = "new claims fail until memory is free", "Redis server full");
                }
                result => result.map_err(self_test_error)?,
            }
        }
        Ok(store)
    }
}
