use std::time::Duration;

use futures_util::future::select_ok;
use redis::{ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind, Value};

use crate::endpoint::Endpoint;
use crate::errors::{ServerError, is_tls_error};

/// The sentinels of a master.
pub(crate) struct Sentinels {
    /// With the login and the database of the master.
    pub(crate) endpoints: Vec<Endpoint>,
    /// The login of the sentinels, if the URL names one.
    pub(crate) login: Option<RedisConnectionInfo>,
    pub(crate) master: String,
    pub(crate) timeout: Duration,
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
        let address = self.master_address(sentinel).await.map_err(|error| sentinel.error(error))?;
        let mut hosts = self.endpoints.iter().filter_map(Endpoint::certificate_host);
        let mut host = None;
        loop {
            let master = Endpoint::announced("the Redis master", sentinel.client(), &address, host)
                .map_err(|error| sentinel.error(error))?;
            match check_master(&master, self.timeout).await {
                Ok(()) => return Ok(master),
                Err(error) if is_tls_error(&error) => {
                    host = hosts.next();
                    if host.is_none() {
                        return Err(master.error(error));
                    }
                }
                Err(error) => return Err(master.error(error)),
            }
        }
    }

    /// Without a login of its own, a sentinel that requires one gets that of the master.
    async fn master_address(&self, sentinel: &Endpoint) -> Result<String, RedisError> {
        let is_required = |error: &RedisError| matches!(error.code(), Some("NOAUTH" | "NOPERM"));
        let login = self.login.clone().unwrap_or_default();
        match self.address_with_login(sentinel, login).await {
            Err(error) if self.login.is_none() && is_required(&error) => {
                self.address_with_login(sentinel, sentinel.login()).await
            }
            address => address,
        }
    }

    async fn address_with_login(
        &self,
        sentinel: &Endpoint,
        login: RedisConnectionInfo,
    ) -> Result<String, RedisError> {
        let mut connection = sentinel.with_login(login)?.connect(self.timeout).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let address: Option<(String, u16)> = command.query_async(&mut connection).await?;
        let unknown =
            (ErrorKind::MasterNameNotFoundBySentinel, "no master has this name", self.master.clone());
        address.map(|(host, port)| format!("{host}:{port}")).ok_or_else(|| unknown.into())
    }
}

async fn check_master(master: &Endpoint, timeout: Duration) -> Result<(), RedisError> {
    let mut connection = master.connect(timeout).await?;
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
