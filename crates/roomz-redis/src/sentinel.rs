use std::time::Duration;

use futures_util::future::select_ok;
use redis::{Client, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind, Value};

use crate::connection::single_use_config;
use crate::url::client_for;

/// The sentinels of a master.
pub(crate) struct Sentinels {
    /// With the login and the database of the master.
    pub(crate) clients: Vec<Client>,
    pub(crate) master: String,
    pub(crate) timeout: Duration,
}

impl Sentinels {
    /// Returns a client for the current master.
    ///
    /// All sentinels are asked at once, because the caller may not wait until a silent one times out.
    pub(crate) async fn find_master(&self) -> Result<Client, RedisError> {
        let answers = self.clients.iter().map(|sentinel| Box::pin(self.ask(sentinel)));
        select_ok(answers).await.map(|(master, _)| master)
    }

    /// Asks one sentinel, and checks that the server is a master: a sentinel may not know of a failover yet.
    async fn ask(&self, sentinel: &Client) -> Result<Client, RedisError> {
        // A sentinel has no databases, and most have no login.
        let login = sentinel.get_connection_info().redis_settings().clone().set_db(0);
        let address = match self.master_address(sentinel, RedisConnectionInfo::default()).await {
            Err(error) if error.code() == Some("NOAUTH") => self.master_address(sentinel, login).await,
            address => address,
        }?;
        let master = client_for(sentinel, &address)?;
        let config = single_use_config(self.timeout);
        let mut connection = master.get_multiplexed_async_connection_with_config(&config).await?;
        match redis::cmd("ROLE").query_async::<Vec<Value>>(&mut connection).await {
            Ok(role) if !is_master(&role) => Err(RedisError::from((
                ErrorKind::Server(ServerErrorKind::MasterDown),
                "the server that the sentinel named is not a master",
                address,
            ))),
            // The user may lack the permission. The replies to the store's writes then show a replica.
            Err(error) if error.kind() != ErrorKind::Server(ServerErrorKind::NoPerm) => Err(error),
            _ => Ok(master),
        }
    }

    async fn master_address(
        &self,
        sentinel: &Client,
        login: RedisConnectionInfo,
    ) -> Result<String, RedisError> {
        let sentinel = Client::open(sentinel.get_connection_info().clone().set_redis_settings(login))?;
        let config = single_use_config(self.timeout);
        let mut connection = sentinel.get_multiplexed_async_connection_with_config(&config).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let address: Option<(String, u16)> = command.query_async(&mut connection).await?;
        let unknown =
            (ErrorKind::MasterNameNotFoundBySentinel, "no master has this name", self.master.clone());
        address.map(|(host, port)| format!("{host}:{port}")).ok_or_else(|| unknown.into())
    }
}

fn is_master(role: &[Value]) -> bool {
    matches!(role.first(), Some(Value::BulkString(role)) if role == b"master")
}
