use redis::Client;

/// A Redis or Valkey server, a cluster, or the master of sentinels: a URL, or an existing client.
///
/// | created from | |
/// |---|---|
/// | URL | `redis://USER:PASSWORD@HOST:PORT/DATABASE`, where only the host is required |
/// | URL of a cluster | `redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT` |
/// | URL of a master with sentinels | `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER/DATABASE` |
/// | [`redis::Client`] of one server | its address and login |
///
/// The store opens connections of its own. An existing connection is not accepted: the store could not
/// replace it when it stops replying, or when its server is demoted.
///
/// With the feature `tls`, the schemes `rediss`, `rediss+cluster` and `rediss+sentinel` encrypt the
/// connections. Sentinels that have a login of their own: see the [crate's
/// documentation](crate#one-server-redis-cluster-or-redis-sentinel).
///
/// ```no_run
/// use roomz_redis::RedisStore;
///
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// let client = redis::Client::open("redis://127.0.0.1:6379")?;
/// let store = RedisStore::connect(client).await?;
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[derive(derive_more::Debug)]
#[debug("Server")]
pub struct Server {
    pub(crate) source: Source,
    /// For a URL.
    pub(crate) root_certificate: Option<Vec<u8>>,
}

pub(crate) enum Source {
    Url(String),
    Client(Box<Client>),
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
