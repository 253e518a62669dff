use futures_util::future::select_ok;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, ServerErrorKind, Value};

use crate::url::NodeUrl;

/// The sentinels of a master.
pub(crate) struct Sentinels {
    addresses: Vec<String>,
    master: String,
    nodes: NodeUrl,
    config: AsyncConnectionConfig,
}

impl Sentinels {
    pub(crate) fn new(
        addresses: Vec<String>,
        master: String,
        nodes: NodeUrl,
        config: AsyncConnectionConfig,
    ) -> Self {
        Self { addresses, master, nodes, config }
    }

    /// Returns a client for the current master.
    ///
    /// All sentinels are asked at once, because the caller may not wait until a silent one times out.
    pub(crate) async fn find_master(&self) -> Result<Client, RedisError> {
        let answers = self.addresses.iter().map(|address| Box::pin(self.ask(address)));
        select_ok(answers).await.map(|(client, _)| client)
    }

    /// Asks one sentinel, and checks that the server is a master: a sentinel may not know of a failover yet.
    async fn ask(&self, sentinel: &str) -> Result<Client, RedisError> {
        let address = match self.master_address(sentinel, false).await {
            Err(error) if error.code() == Some("NOAUTH") && self.nodes.has_login() => {
                self.master_address(sentinel, true).await
            }
            address => address,
        }?;
        let client = self.nodes.client(&address)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&self.config).await?;
        match redis::cmd("ROLE").query_async::<Vec<Value>>(&mut connection).await {
            Ok(role) if !is_master(&role) => Err(RedisError::from((
                ErrorKind::Server(ServerErrorKind::ReadOnly),
                "the server that the sentinel named is not a master",
                address,
            ))),
            // The user may lack the permission. The replies to the store's writes then show a replica.
            Ok(_) => Ok(client),
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(client),
            Err(error) => Err(error),
        }
    }

    async fn master_address(&self, sentinel: &str, has_login: bool) -> Result<String, RedisError> {
        let client = self.nodes.sentinel_client(sentinel, has_login)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&self.config).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let address: Option<(String, u16)> = command.query_async(&mut connection).await?;
        let Some((host, port)) = address else {
            let message = "no master has this name";
            return Err((ErrorKind::MasterNameNotFoundBySentinel, message, self.master.clone()).into());
        };
        Ok(crate::url::address(&host, port))
    }
}

fn is_master(role: &[Value]) -> bool {
    matches!(role.first(), Some(Value::BulkString(role)) if role == b"master")
}
