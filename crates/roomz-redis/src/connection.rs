use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::ConnectionManager;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind};

use crate::endpoint::{Endpoint, Manager};
use crate::errors::ServerError;
use crate::sentinel::Sentinels;

/// A connection to one server, which is replaced when the server stops replying.
///
/// A `ConnectionManager` reconnects when its connection breaks. It keeps a connection that stops replying,
/// for example because a firewall dropped its state, until the operating system gives up. It never retries a
/// rejected login, or a server that replied something else than Redis.
pub(crate) struct Connection {
    /// `None` for a connection that the application passed, which is never replaced.
    target: Option<Target>,
    timeout: Duration,
    current: Mutex<Current>,
}

/// Where a connection leads.
enum Target {
    Server(Endpoint),
    /// The current master of these sentinels.
    Master(Sentinels),
}

/// A command, or a call of one of the store's scripts.
pub(crate) struct Call {
    pub(crate) command: Cmd,
    /// The script whose hash is in the command.
    script: Option<&'static Script>,
}

#[derive(Clone)]
struct Current {
    /// Role and address, for messages.
    server: Arc<str>,
    manager: Manager,
    /// When the connection was created, or the last attempt to replace it began.
    since: Instant,
    /// When the first of the operations began that failed since the last reply.
    failing_since: Option<Instant>,
    is_demoted: bool,
}

/// What an operation shows about its server.
#[derive(Clone, Copy, Debug)]
enum Health {
    Healthy,
    /// It does not reply, is not Redis, rejects the login, or does not serve its keys.
    Failing,
    /// It is a replica now. After a failover, the address may lead to the new master.
    Demoted,
}

impl Connection {
    pub(crate) fn to_server(endpoint: Endpoint, timeout: Duration) -> Result<Self, ServerError> {
        let current = Mutex::new(Current::open(&endpoint, timeout)?);
        Ok(Self { target: Some(Target::Server(endpoint)), timeout, current })
    }

    pub(crate) async fn to_master(sentinels: Sentinels) -> Result<Self, ServerError> {
        let timeout = sentinels.timeout;
        let current = Mutex::new(Current::open(&sentinels.find_master().await?, timeout)?);
        Ok(Self { target: Some(Target::Master(sentinels)), timeout, current })
    }

    /// Uses a connection that the application passed.
    pub(crate) fn from_manager(manager: ConnectionManager) -> Self {
        let current = Current::new("the Redis server".into(), Manager::Plain(manager));
        Self { target: None, timeout: Duration::MAX, current: Mutex::new(current) }
    }

    /// The current connection, and role and address of its server.
    pub(crate) fn manager(&self) -> (Arc<str>, Manager) {
        let current = self.current();
        (Arc::clone(&current.server), current.manager.clone())
    }

    /// Whether the server did not serve the last operation.
    pub(crate) fn is_failing(&self) -> bool {
        self.current().failing_since.is_some()
    }

    /// Executes a call. `asking`: this node of a cluster is importing the key's slot, so `ASKING` comes
    /// first.
    pub(crate) async fn invoke<T: FromRedisValue>(
        &self,
        call: &Call,
        asking: bool,
    ) -> Result<T, ServerError> {
        let Current { server, mut manager, since, .. } = self.live().await?;
        // The caller has its own timeout and may drop this future before the reply arrives.
        let mut operation =
            Operation { connection: self, since, sent: Instant::now(), health: Health::Failing };
        let mut reply = call.send(&mut manager, asking).await;
        if reply.as_ref().is_err_and(is_broken) {
            // Using a connection that the server closed while idle is what shows that it is closed. The
            // manager is reconnecting by now. The server may have executed the call: a repetition by the same
            // owner changes nothing.
            reply = call.send(&mut manager, asking).await;
        }
        operation.health = reply.as_ref().err().map_or(Health::Healthy, health);
        reply.map_err(|error| ServerError { server, error })
    }

    /// Returns the current connection. Replaces it first if it is stale.
    async fn live(&self) -> Result<Current, ServerError> {
        let target = {
            let mut current = self.current();
            match &self.target {
                Some(target) if current.is_stale(self.timeout) => {
                    // The other operations use the old connection in the meantime. If this is the only
                    // server, or the sentinels do not know another one, every operation would reconnect
                    // otherwise.
                    *current = Current::new(Arc::clone(&current.server), current.manager.clone());
                    target
                }
                _ => return Ok(current.clone()),
            }
        };
        let endpoint = match target {
            Target::Server(endpoint) => endpoint.clone(),
            Target::Master(sentinels) => sentinels.find_master().await?,
        };
        let live = Current::open(&endpoint, self.timeout)?;
        *self.current() = live.clone();
        Ok(live)
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    pub(crate) const fn command(command: Cmd) -> Self {
        Self { command, script: None }
    }

    /// A call of a script that touches this key only.
    pub(crate) fn script(script: &'static Script, key: &str) -> Self {
        let mut command = redis::cmd("EVALSHA");
        command.arg(script.get_hash()).arg(1).arg(key);
        Self { command, script: Some(script) }
    }

    /// Loads the script if the server does not have it.
    async fn send<T: FromRedisValue>(&self, manager: &mut Manager, asking: bool) -> Result<T, RedisError> {
        match (self.send_command(manager, asking).await, self.script) {
            (Err(error), Some(script)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                script.load_async(manager).await?;
                self.send_command(manager, asking).await
            }
            (reply, _) => reply,
        }
    }

    async fn send_command<T: FromRedisValue>(
        &self,
        manager: &mut Manager,
        asking: bool,
    ) -> Result<T, RedisError> {
        if !asking {
            return self.command.query_async(manager).await;
        }
        // `ASKING` holds for the next command of its connection, which all operations share.
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").ignore().add_command(self.command.clone()).ignore_errors();
        let (reply,): (Result<T, RedisError>,) = pipeline.query_async(manager).await?;
        reply
    }
}

impl Current {
    fn new(server: Arc<str>, manager: Manager) -> Self {
        Self { server, manager, since: Instant::now(), failing_since: None, is_demoted: false }
    }

    fn open(endpoint: &Endpoint, timeout: Duration) -> Result<Self, ServerError> {
        let manager = endpoint.manager(timeout).map_err(|error| endpoint.error(error))?;
        Ok(Self::new(Arc::clone(endpoint.name()), manager))
    }

    /// Whether to replace the connection. It gets enough time to connect and to receive a reply. With less, a
    /// slow server would never get to reply.
    fn is_stale(&self, timeout: Duration) -> bool {
        let is_over = |since: Instant| since.elapsed() >= timeout.saturating_mul(2);
        is_over(self.since) && (self.is_demoted || self.failing_since.is_some_and(is_over))
    }
}

fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() && !error.is_timeout() && !error.is_connection_refusal()
}

fn health(error: &RedisError) -> Health {
    match (error.kind(), error.code()) {
        (_, Some("NOAUTH" | "CLUSTERDOWN" | "LOADING")) => Health::Failing,
        (_, Some("READONLY" | "MASTERDOWN")) => Health::Demoted,
        // Redis 6 says it inside the text of a script error.
        _ if error.detail().is_some_and(|detail| detail.contains("-READONLY ")) => Health::Demoted,
        (ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType, _) => Health::Healthy,
        // Also a reply that is not Redis, such as that of another program that has the port while the server
        // is down. A `ConnectionManager` keeps such an error for ever.
        _ => Health::Failing,
    }
}

/// An operation that awaits its reply. `Drop` records what it shows, also when the caller gave up.
struct Operation<'a> {
    connection: &'a Connection,
    since: Instant,
    sent: Instant,
    health: Health,
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        let mut current = self.connection.current();
        if current.since != self.since {
            return;
        }
        match self.health {
            Health::Healthy => current.failing_since = None,
            Health::Failing => current.failing_since = current.failing_since.or(Some(self.sent)),
            Health::Demoted => current.is_demoted = true,
        }
    }
}
