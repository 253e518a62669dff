use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, FromRedisValue, RedisError, ScriptInvocation};

/// A connection that is replaced when the server stops replying.
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
    client: Client,
    config: ConnectionManagerConfig,
    /// Long enough to connect and to receive a reply. With less, a slow server would never get to reply.
    silence_timeout: Duration,
}

/// Whether an operation may run a second time if its connection broke before the reply arrived.
///
/// The server may have executed the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// The second execution by the same owner has the same result.
    Safe,
    /// The second execution has another result.
    Never,
}

struct Current {
    manager: ConnectionManager,
    generation: u64,
    created: Instant,
    last_reply: Instant,
    silent_since: Option<Instant>,
    /// The next operation replaces the connection.
    stale: bool,
}

impl Connection {
    /// Connects to the server of this client.
    pub(crate) async fn connect(
        client: Client,
        config: ConnectionManagerConfig,
        silence_timeout: Duration,
    ) -> Result<Self, RedisError> {
        let manager = ConnectionManager::new_with_config(client.clone(), config.clone()).await?;
        let connector = Connector { client, config, silence_timeout };
        Ok(Self { connector: Some(connector), current: Mutex::new(Current::new(manager, 0)) })
    }

    /// Uses a connection that the application passed.
    pub(crate) fn from_manager(manager: ConnectionManager) -> Self {
        Self { connector: None, current: Mutex::new(Current::new(manager, 0)) }
    }

    pub(crate) fn manager(&self) -> ConnectionManager {
        self.current().manager.clone()
    }

    pub(crate) async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        retry: Retry,
    ) -> Result<T, RedisError> {
        let (mut manager, generation) = self.live_manager()?;
        // The caller has its own timeout and may drop this future before the reply arrives.
        let mut pending = PendingReply {
            connection: self,
            generation,
            sent: Instant::now(),
            replied: false,
            demoted: false,
        };
        let mut reply = script.invoke_async(&mut manager).await;
        if retry == Retry::Safe && reply.as_ref().is_err_and(is_broken) {
            // Using a connection that the server closed while idle is what shows that it is closed. The manager is
            // reconnecting by now.
            reply = script.invoke_async(&mut manager).await;
        }
        pending.replied = reply.as_ref().err().is_none_or(is_reply);
        pending.demoted = reply.as_ref().is_err_and(is_demoted);
        reply
    }

    /// Returns the current connection and its generation. Replaces a stale connection first.
    fn live_manager(&self) -> Result<(ConnectionManager, u64), RedisError> {
        let mut current = self.current();
        if let (true, Some(connector)) = (current.stale, &self.connector) {
            let (client, config) = (connector.client.clone(), connector.config.clone());
            let manager = ConnectionManager::new_lazy_with_config(client, config)?;
            *current = Current::new(manager, current.generation + 1);
        }
        Ok((current.manager.clone(), current.generation))
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn new(manager: ConnectionManager, generation: u64) -> Self {
        let now = Instant::now();
        Self { manager, generation, created: now, last_reply: now, silent_since: None, stale: false }
    }
}

fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() && !error.is_timeout() && !error.is_connection_refusal()
}

/// Whether the server executed the operation and replied with this error. A rejected login does not count.
fn is_reply(error: &RedisError) -> bool {
    !matches!(error.kind(), ErrorKind::Io | ErrorKind::AuthenticationFailed) && error.code() != Some("NOAUTH")
}

/// Whether the server is a replica now. After a failover, the address may lead to the new master.
fn is_demoted(error: &RedisError) -> bool {
    matches!(error.code(), Some("READONLY" | "MASTERDOWN"))
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
        let mut current = self.connection.current();
        if current.generation != self.generation {
            return;
        }
        if self.demoted {
            // Not at once: if this is the only server, every write would reconnect.
            current.stale = current.created.elapsed() >= connector.silence_timeout;
            return;
        }
        if self.replied {
            (current.last_reply, current.silent_since) = (Instant::now(), None);
            return;
        }
        let silent_from = self.sent.max(current.last_reply);
        let silent_since = *current.silent_since.get_or_insert(silent_from);
        current.stale = silent_since.elapsed() >= connector.silence_timeout;
    }
}
