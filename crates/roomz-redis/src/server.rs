use std::fmt;

use redis::Client;
use redis::aio::ConnectionManager;

/// A Redis or Valkey server, a cluster, or the master of sentinels: a URL, an existing client, or an existing
/// connection.
///
/// | created from | who sets timeouts and reconnects |
/// |---|---|
/// | URL: `redis://USER:PASSWORD@HOST:PORT/DATABASE`, where only the host is required | the store |
/// | URL of a cluster: `redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT` | the store |
/// | URL of a master with sentinels: `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER/DATABASE` | the store |
/// | [`redis::Client`] of one server | the store: it opens its own connection |
/// | [`redis::aio::ConnectionManager`] | you: the store shares the connection and never replaces it |
///
/// With the feature `tls`, the schemes `rediss`, `rediss+cluster` and `rediss+sentinel` encrypt the
/// connections. Sentinels that have a login of their own: see the [crate's
/// documentation](crate#one-server-redis-cluster-or-redis-sentinel).
///
/// For a `ConnectionManager`:
///
/// - Give it a response timeout below the layer's store timeout (2 s by default).
///   [`with_timeout`](crate::RedisStoreBuilder::with_timeout) has no effect.
/// - A connection that stops replying stays in use until the operating system closes it.
/// - After a failover, the manager stays connected to a demoted server until that connection breaks.
/// - The manager may not retry a rejected login.
///
/// A `redis::aio::MultiplexedConnection` is not accepted, because it does not reconnect.
///
/// ```no_run
/// use roomz_redis::RedisStore;
///
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// let client = redis::Client::open("redis://127.0.0.1:6379")?;
/// let store = RedisStore::connect(client.clone()).await?;
///
/// let connection = client.get_connection_manager().await?;
/// let sharing_a_connection = RedisStore::connect(connection).await?;
/// # drop((store, sharing_a_connection));
/// # Ok(())
/// # }
/// ```
pub struct Server {
    pub(crate) source: Source,
    /// For a URL.
    pub(crate) root_certificate: Option<Vec<u8>>,
}

pub(crate) enum Source {
    Url(String),
    Client(Box<Client>),
    ConnectionManager(ConnectionManager),
}

impl From<Source> for Server {
    fn from(source: Source) -> Self {
        Self { source, root_certificate: None }
    }
}

impl From<&str> for Server {
    fn from(url: &str) -> Self {
        Source::Url(url.to_owned()).into()
    }
}

impl From<&String> for Server {
    fn from(url: &String) -> Self {
        Source::Url(url.clone()).into()
    }
}

impl From<String> for Server {
    fn from(url: String) -> Self {
        Source::Url(url).into()
    }
}

impl From<Client> for Server {
    fn from(client: Client) -> Self {
        Source::Client(Box::new(client)).into()
    }
}

impl From<ConnectionManager> for Server {
    fn from(connection: ConnectionManager) -> Self {
        Source::ConnectionManager(connection).into()
    }
}

/// Without its contents: URLs and clients contain passwords.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}
