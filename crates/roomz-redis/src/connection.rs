use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind,
};

use crate::sentinel::Sentinels;

/// A connection to one server, which is replaced when the server stops replying.
///
/// A `ConnectionManager` reconnects when its connection breaks. It keeps a connection that stops replying, for example
/// because a firewall dropped its state, until the operating system gives up. It never retries a rejected login.
pub(crate) struct Connection {
    /// `None` for a connection that the application passed, which is never replaced.
    connector: Option<Connector>,
    current: Mutex<Current>,
}

/// Creates the connections that replace a stale one.
struct Connector {
    target: Target,
    timeouts: Timeouts,
}

/// Where a connection leads.
pub(crate) enum Target {
    Client(Client),
    /// The current master of these sentinels.
    Master(Sentinels),
}

/// The timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
}

/// A command, or a call of one of the store's scripts.
pub(crate) struct Call<'a> {
    /// The script whose hash is in the command, or `None` for another command.
    pub(crate) script: Option<&'a Script>,
    pub(crate) command: Cmd,
    pub(crate) retry: Retry,
}

/// Whether an operation may run a second time if its connection broke before the reply arrived.
///
/// The server may have executed the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// A second execution by the same owner has the same result.
    Safe,
    /// A second execution by the same owner has a different result.
    Never,
}

struct Current {
    manager: ConnectionManager,
    generation: u64,
    /// When the connection was created, or the last attempt to replace it began.
    replaced: Instant,
    last_reply: Instant,
    silent_since: Option<Instant>,
    /// The next operation replaces the connection.
    stale: bool,
}

impl Timeouts {
    fn config(self) -> ConnectionManagerConfig {
        ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.connect))
            .set_response_timeout(Some(self.response))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_secs(1))
    }

    /// The configuration of a connection that is used once.
    pub(crate) fn single_use_config(self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect))
            .set_response_timeout(Some(self.response))
    }

    /// Long enough to connect and to receive a reply. With less, a slow server would never get to reply.
    fn silence(self) -> Duration {
        self.connect.saturating_add(self.response)
    }
}

impl Target {
    async fn client(&self) -> Result<Client, RedisError> {
        match self {
            Self::Client(client) => Ok(client.clone()),
            Self::Master(sentinels) => sentinels.find_master().await,
        }
    }
}

impl Connection {
    /// Connects to a server.
    pub(crate) async fn connect(target: Target, timeouts: Timeouts) -> Result<Self, RedisError> {
        let client = target.client().await?;
        let manager = ConnectionManager::new_with_config(client, timeouts.config()).await?;
        let connector = Some(Connector { target, timeouts });
        Ok(Self { connector, current: Mutex::new(Current::new(manager, 0)) })
    }

    /// Creates a connection that the first operation opens.
    pub(crate) fn lazy(client: Client, timeouts: Timeouts) -> Result<Self, RedisError> {
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), timeouts.config())?;
        let connector = Some(Connector { target: Target::Client(client), timeouts });
        Ok(Self { connector, current: Mutex::new(Current::new(manager, 0)) })
    }

    /// Uses a connection that the application passed.
    pub(crate) fn from_manager(manager: ConnectionManager) -> Self {
        Self { connector: None, current: Mutex::new(Current::new(manager, 0)) }
    }

    pub(crate) fn manager(&self) -> ConnectionManager {
        self.current().manager.clone()
    }

    /// Executes a call. `asking`: this node of a cluster is importing the key's slot, so `ASKING` comes first.
    pub(crate) async fn invoke<T: FromRedisValue>(
        &self,
        call: &Call<'_>,
        asking: bool,
    ) -> Result<T, RedisError> {
        let (mut manager, generation) = self.live_manager().await?;
        // The caller has its own timeout and may drop this future before the reply arrives.
        let mut pending = PendingReply {
            connection: self,
            generation,
            sent: Instant::now(),
            replied: false,
            demoted: false,
        };
        let mut reply = call.send(&mut manager, asking).await;
        if call.retry == Retry::Safe && reply.as_ref().is_err_and(is_broken) {
            // Using a connection that the server closed while idle is what shows that it is closed. The manager is
            // reconnecting by now.
            reply = call.send(&mut manager, asking).await;
        }
        pending.replied = reply.as_ref().err().is_none_or(is_reply);
        pending.demoted = reply.as_ref().is_err_and(is_demoted);
        reply
    }

    /// Returns the current connection and its generation. Replaces a stale connection first.
    async fn live_manager(&self) -> Result<(ConnectionManager, u64), RedisError> {
        let connector = {
            let mut current = self.current();
            match &self.connector {
                Some(connector) if current.stale => {
                    // The other operations use the old connection in the meantime.
                    (current.stale, current.replaced) = (false, Instant::now());
                    connector
                }
                _ => return Ok((current.manager.clone(), current.generation)),
            }
        };
        let client = match connector.target.client().await {
            Ok(client) => client,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    hint = "check that the sentinels and the master are reachable",
                    "master of the Redis Sentinels unknown",
                );
                let current = self.current();
                return Ok((current.manager.clone(), current.generation));
            }
        };
        let manager = ConnectionManager::new_lazy_with_config(client, connector.timeouts.config())?;
        let mut current = self.current();
        *current = Current::new(manager, current.generation + 1);
        Ok((current.manager.clone(), current.generation))
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    /// Loads the script if the server does not have it.
    async fn send<T: FromRedisValue>(
        &self,
        manager: &mut ConnectionManager,
        asking: bool,
    ) -> Result<T, RedisError> {
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
        manager: &mut ConnectionManager,
        asking: bool,
    ) -> Result<T, RedisError> {
        if !asking {
            return self.command.query_async(manager).await;
        }
        // `ASKING` holds for the next command of its connection, which all operations share.
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").ignore().add_command(self.command.clone());
        let reply: Result<(T,), RedisError> = pipeline.query_async(manager).await;
        reply.map(|(value,)| value).map_err(|error| {
            // The error of a pipeline has neither a detail nor the address of a redirection.
            match error.clone().into_server_errors().and_then(|errors| errors.first().cloned()) {
                Some((_, error)) => error.into(),
                None => error,
            }
        })
    }
}

impl Current {
    fn new(manager: ConnectionManager, generation: u64) -> Self {
        let now = Instant::now();
        Self { manager, generation, replaced: now, last_reply: now, silent_since: None, stale: false }
    }
}

fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() && !error.is_timeout() && !error.is_connection_refusal()
}

/// Whether the server executed the operation and replied with this error. A rejected login does not count.
fn is_reply(error: &RedisError) -> bool {
    !matches!(error.kind(), ErrorKind::Io | ErrorKind::AuthenticationFailed) && error.code() != Some("NOAUTH")
}

/// Whether the server is a replica now. After a failover, the address may lead to the new master. Redis 6 says it inside the
/// text of a script error.
fn is_demoted(error: &RedisError) -> bool {
    matches!(error.code(), Some("READONLY" | "MASTERDOWN"))
        || error.detail().is_some_and(|detail| detail.contains("-READONLY "))
}

/// An operation whose reply is awaited. `Drop` records whether it arrived, also when the caller gave up.
struct PendingReply<'a> {
    connection: &'a Connection,
    generation: u64,
    sent: Instant,
    replied: bool,
    demoted: bool,
}

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        let Some(connector) = &self.connection.connector else { return };
        let silence_timeout = connector.timeouts.silence();
        let mut current = self.connection.current();
        if current.generation != self.generation {
            return;
        }
        if self.replied && !self.demoted {
            (current.last_reply, current.silent_since) = (Instant::now(), None);
            return;
        }
        // If this is the only server, or the sentinels do not know another one, every operation would reconnect.
        let may_replace = current.replaced.elapsed() >= silence_timeout;
        if self.demoted {
            current.stale = may_replace;
            return;
        }
        let silent_from = self.sent.max(current.last_reply);
        let silent_since = *current.silent_since.get_or_insert(silent_from);
        current.stale = may_replace && silent_since.elapsed() >= silence_timeout;
    }
}
