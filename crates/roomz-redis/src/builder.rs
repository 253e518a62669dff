use std::fmt;
use std::time::Duration;

use redis::aio::ConnectionManagerConfig;
use redis::{Client, ErrorKind, RedisError, ServerErrorKind};

use crate::error::{ConnectError, ConnectErrorKind};
use crate::link::Link;
use crate::store::RedisStore;

/// Collects the settings of a [`RedisStore`].
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
    url: String,
    prefix: String,
    connect_timeout: Duration,
    response_timeout: Duration,
}

impl RedisStoreBuilder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            prefix: "roomz".to_owned(),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_millis(1_500),
        }
    }

    /// What the store's keys begin with, before `:NAMESPACE:ID`. Default: `roomz`.
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// How long connecting may take. Default: 2 s.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one answer of the server may take. Default: 1.5 s, which is within the layer's store time-out (2 s).
    pub fn with_response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// Connects, and sees that the server is one that the store can work with.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] for a URL that cannot be used, a server that cannot be reached, a refused login, a server that is
    /// too old, or one that does not let this user run the store's scripts or write.
    pub async fn connect(self) -> Result<RedisStore, ConnectError> {
        let client = Client::open(self.url.as_str())
            .map_err(|error| ConnectError::new(ConnectErrorKind::Url, error))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_secs(1));
        let patience = self.connect_timeout + self.response_timeout;
        let link = Link::connect(client, config, patience).await.map_err(connect_error)?;

        let info = redis::cmd("INFO").arg("server").query_async::<String>(&mut link.manager()).await;
        let info = info.map_err(connect_error)?;
        let version = version(&info);
        if version.split('.').next().and_then(|major| major.parse().ok()).is_none_or(|major: u32| major < 6) {
            return Err(ConnectError::too_old(version.to_owned()));
        }
        let store = RedisStore::new(link, self.prefix);
        store.try_out().await.map_err(|error| ConnectError::new(ConnectErrorKind::Refused, error))?;
        Ok(store)
    }
}

/// Valkey says of which Redis it is, in the same place.
fn version(info: &str) -> &str {
    info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or_default().trim()
}

fn connect_error(error: RedisError) -> ConnectError {
    let kind = match error.kind() {
        ErrorKind::AuthenticationFailed => ConnectErrorKind::Login,
        ErrorKind::InvalidClientConfig => ConnectErrorKind::Url,
        ErrorKind::Server(ServerErrorKind::NoPerm) => ConnectErrorKind::Refused,
        _ => match error.code() {
            Some("NOAUTH" | "WRONGPASS") => ConnectErrorKind::Login,
            _ => ConnectErrorKind::Unreachable,
        },
    };
    ConnectError::new(kind, error)
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
