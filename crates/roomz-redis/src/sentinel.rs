use futures_util::future::select_ok;
use redis::{ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind, Value};

use crate::endpoint::Endpoint;
use crate::errors::ServerError;

/// The sentinels of a master.
pub(crate) struct Sentinels {
    /// With the login and the database of the master.
    pub(crate) endpoints: Vec<Endpoint>,
    /// The login of the sentinels, if the URL names one.
    pub(crate) login: Option<RedisConnectionInfo>,
    pub(crate) master: String,
}

impl Sentinels {
    /// Returns the current master.
    ///
    /// All sentinels are asked at once, because the caller may not wait until a silent one times out.
    pub(crate) async fn find_master(&self) -> Result<Endpoint, ServerError> {
        let answers = self.endpoints.iter().map(|sentinel| Box::pin(self.ask(sentinel)));
        select_ok(answers).await.map(|(master, _)| master)
    }

    /// Asks one sentinel, and checks that the server is a master: a sentinel may not know of a failover yet.
    async fn ask(&self, sentinel: &Endpoint) -> Result<Endpoint, ServerError> {
        let of_sentinel = |error| sentinel.error(error);
        let address = self.master_address(sentinel).await.map_err(of_sentinel)?;
        let master = sentinel.announced("the Redis master", &address).map_err(of_sentinel)?;
        check_master(&master).await.map_err(|error| master.error(error))?;
        Ok(master)
    }

    /// Without a login of its own, a sentinel that requires one gets that of the master.
    async fn master_address(&self, sentinel: &Endpoint) -> Result<String, RedisError> {
        let is_required = |error: &RedisError| matches!(error.code(), Some("NOAUTH" | "NOPERM"));
        let login = self.login.clone().unwrap_or_default();
        match self.address_with_login(sentinel, Some(login)).await {
            Err(error) if self.login.is_none() && is_required(&error) => {
                self.address_with_login(sentinel, None).await
            }
            address => address,
        }
    }

    async fn address_with_login(
        &self,
        sentinel: &Endpoint,
        login: Option<RedisConnectionInfo>,
    ) -> Result<String, RedisError> {
        let mut connection = sentinel.with_login(login)?.connect().await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let address: Option<(String, u16)> = command.query_async(&mut connection).await?;
        let unknown =
            (ErrorKind::MasterNameNotFoundBySentinel, "no master has this name", self.master.clone());
        address.map(|(host, port)| format!("{host}:{port}")).ok_or_else(|| unknown.into())
    }
}

async fn check_master(master: &Endpoint) -> Result<(), RedisError> {
    let mut connection = master.connect().await?;
    match redis::cmd("ROLE").query_async::<Vec<Value>>(&mut connection).await {
        Ok(role) if !matches!(role.first(), Some(Value::BulkString(role)) if role == b"master") => {
            let demoted = ErrorKind::Server(ServerErrorKind::MasterDown);
            Err((demoted, "the server that the sentinel named is not a master").into())
        }
        // The user may lack the permission. The replies to the store's writes then show a replica.
        Err(error) if error.kind() != ErrorKind::Server(ServerErrorKind::NoPerm) => Err(error),
        _ => Ok(()),
    }
}
