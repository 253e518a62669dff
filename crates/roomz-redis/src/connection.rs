use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind};

use crate::endpoint::Endpoint;
use crate::errors::ServerError;
use crate::sentinel::Sentinels;

/// A connection to one server, which all operations share. It is opened again when it breaks, and replaced
/// when the server stops replying.
pub(crate) struct Connection {
    /// They name the server to connect to, if there are any.
    sentinels: Option<Sentinels>,
    current: Mutex<Current>,
}

/// A command, or a call of one of the store's scripts.
pub(crate) struct Call {
    pub(crate) command: Cmd,
    /// The script whose hash is in the command.
    script: Option<&'static Script>,
    /// A node of a cluster is importing the key's slot, so `ASKING` comes first.
    pub(crate) asking: bool,
}

struct Current {
    /// Where the link is opened again.
    endpoint: Endpoint,
    link: Link,
    opened: Instant,
    /// When the connection was created, or the last attempt to replace it began.
    since: Instant,
    /// When the first of the operations began that failed since the last reply.
    failing_since: Option<Instant>,
    is_demoted: bool,
}

/// A connection that is opened by the operations that need it. A `ConnectionManager` of redis can only verify
/// the host that it connects to, and never retries a rejected login.
type Link = Shared<BoxFuture<'static, Result<MultiplexedConnection, RedisError>>>;

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
    pub(crate) fn to_server(endpoint: Endpoint) -> Self {
        Self { sentinels: None, current: Mutex::new(Current::open(endpoint)) }
    }

    /// Connects to the current master of these sentinels.
    pub(crate) async fn to_master(sentinels: Sentinels) -> Result<Self, ServerError> {
        let current = Mutex::new(Current::open(sentinels.find_master().await?));
        Ok(Self { sentinels: Some(sentinels), current })
    }

    /// Role and address of the server.
    pub(crate) fn server(&self) -> Arc<str> {
        Arc::clone(&self.current().endpoint.name)
    }

    /// Whether the server did not serve the last operation.
    pub(crate) fn is_failing(&self) -> bool {
        self.current().failing_since.is_some()
    }

    /// Executes a call, and records what it shows about the server.
    pub(crate) async fn invoke<T: FromRedisValue>(&self, call: &Call) -> Result<T, ServerError> {
        self.replace_if_stale().await?;
        let (server, since) = {
            let current = self.current();
            (Arc::clone(&current.endpoint.name), current.since)
        };
        // The caller has its own timeout and may drop this future before the reply arrives.
        let mut operation =
            Operation { connection: self, since, sent: Instant::now(), health: Health::Failing };
        let reply = self.send(call).await;
        operation.health = reply.as_ref().err().map_or(Health::Healthy, health);
        reply.map_err(|error| ServerError { server, error })
    }

    /// Sends a call. Sends it again if the connection broke: using a connection that the server closed while
    /// idle is what shows that it is closed. The server may have executed the call: a repetition by the same
    /// owner changes nothing.
    pub(crate) async fn send<T: FromRedisValue>(&self, call: &Call) -> Result<T, RedisError> {
        let link = self.link(None);
        let reply = call.send(&link).await;
        if reply.as_ref().is_err_and(is_broken) { call.send(&self.link(Some(&link))).await } else { reply }
    }

    /// Returns the link. Opens it again if it is the broken one, or could not be opened in time.
    fn link(&self, broken: Option<&Link>) -> Link {
        let mut current = self.current();
        let Current { endpoint, link, opened, .. } = &mut *current;
        let could_not_open = match link.peek() {
            Some(opened) => opened.is_err(),
            // The callers that opened it may be gone, and its timeout is over.
            None => opened.elapsed() >= endpoint.timeout,
        };
        if could_not_open || broken.is_some_and(|broken| broken.ptr_eq(link)) {
            (*link, *opened) = (open(endpoint.clone()), Instant::now());
        }
        link.clone()
    }

    async fn replace_if_stale(&self) -> Result<(), ServerError> {
        let endpoint = {
            let mut current = self.current();
            if !current.is_stale() {
                return Ok(());
            }
            // The other operations use the old connection in the meantime. If this is the only server, or the
            // sentinels do not know another one, every operation would reconnect otherwise.
            (current.since, current.failing_since, current.is_demoted) = (Instant::now(), None, false);
            current.endpoint.clone()
        };
        let endpoint = match &self.sentinels {
            Some(sentinels) => sentinels.find_master().await?,
            None => endpoint,
        };
        *self.current() = Current::open(endpoint);
        Ok(())
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(endpoint: Endpoint) -> Link {
    async move { endpoint.connect().await }.boxed().shared()
}

impl Call {
    pub(crate) fn command(words: &[&str]) -> Self {
        let mut command = Cmd::new();
        command.arg(words);
        Self { command, script: None, asking: false }
    }

    /// A call of a script that touches this key only.
    pub(crate) fn script(script: &'static Script, key: &str) -> Self {
        let mut command = redis::cmd("EVALSHA");
        command.arg(script.get_hash()).arg(1).arg(key);
        Self { command, script: Some(script), asking: false }
    }

    /// Loads the script if the server does not have it.
    async fn send<T: FromRedisValue>(&self, link: &Link) -> Result<T, RedisError> {
        let connection = &mut link.clone().await?;
        match (self.send_command(connection).await, self.script) {
            (Err(error), Some(script)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                script.load_async(connection).await?;
                self.send_command(connection).await
            }
            (reply, _) => reply,
        }
    }

    async fn send_command<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
    ) -> Result<T, RedisError> {
        if !self.asking {
            return self.command.query_async(connection).await;
        }
        // `ASKING` holds for the next command of its connection, which all operations share.
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").ignore().add_command(self.command.clone()).ignore_errors();
        let (reply,): (Result<T, RedisError>,) = pipeline.query_async(connection).await?;
        reply
    }
}

impl Current {
    fn open(endpoint: Endpoint) -> Self {
        let (link, now) = (open(endpoint.clone()), Instant::now());
        Self { endpoint, link, opened: now, since: now, failing_since: None, is_demoted: false }
    }

    /// Whether to replace the connection. It gets enough time to connect and to receive a reply. With less, a
    /// slow server would never get to reply.
    fn is_stale(&self) -> bool {
        let is_over = |since: Instant| since.elapsed() >= self.endpoint.timeout.saturating_mul(2);
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
        // is down: the connection keeps such an error for ever.
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io;
    use std::time::Duration;

    use redis::Client;

    use super::*;
    use crate::errors::tests::reply;

    /// A call is sent again if the connection broke. After a timeout, the caller has no time left, and a
    /// refusal would come again.
    #[test]
    fn only_broken_connection_is_opened_again() {
        use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof};
        let is_broken = |kind| is_broken(&RedisError::from(io::Error::from(kind)));
        assert!([BrokenPipe, ConnectionReset, UnexpectedEof].into_iter().all(is_broken));
        assert!(![TimedOut, ConnectionRefused].into_iter().any(is_broken));
        assert!(!super::is_broken(&reply("OOM command not allowed when used memory > 'maxmemory'.")));
    }

    #[test]
    fn errors_show_health_of_server() {
        for (error, expected) in [
            (reply("NOAUTH Authentication required."), "Failing"),
            (reply("CLUSTERDOWN The cluster is down"), "Failing"),
            (reply("LOADING Redis is loading the dataset in memory"), "Failing"),
            (io::Error::from(io::ErrorKind::ConnectionRefused).into(), "Failing"),
            (reply("READONLY You can't write against a read only replica."), "Demoted"),
            (reply("MASTERDOWN Link with MASTER is down"), "Demoted"),
            (reply("ERR Error running script: @user_script:9: -READONLY You can't write"), "Demoted"),
            (reply("OOM command not allowed when used memory > 'maxmemory'."), "Healthy"),
            (reply("NOREPLICAS Not enough good replicas to write."), "Healthy"),
            (reply("ERR unknown command"), "Healthy"),
        ] {
            assert_eq!(format!("{:?}", health(&error)), expected, "{error}");
        }
    }

    /// A connection is replaced if it is old enough and its server has failed for long enough, or is demoted.
    #[test]
    fn replaces_old_connection_to_failing_server() {
        let timeout = Duration::from_secs(60);
        let client = Client::open("redis://localhost").unwrap();
        let endpoint = Endpoint::new("Redis", client, Arc::default(), timeout);
        let (new, old) = (Instant::now(), Instant::now().checked_sub(timeout * 2).unwrap());
        for (since, failing_since, is_demoted, expected) in [
            (new, Some(old), true, false),
            (old, None, false, false),
            (old, Some(new), false, false),
            (old, Some(old), false, true),
            (old, None, true, true),
        ] {
            let current = Current { since, failing_since, is_demoted, ..Current::open(endpoint.clone()) };
            assert_eq!(current.is_stale(), expected);
        }
    }
}
