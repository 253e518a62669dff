use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, FromRedisValue, RedisError, ScriptInvocation};

/// A connection that is given up when nothing comes through it any more.
///
/// The manager replaces a connection that breaks. It keeps one that only falls silent, because the network forgot it
/// say, until the operating system gives up; and it keeps a login that was refused for ever.
pub(crate) struct Link {
    client: Client,
    config: ConnectionManagerConfig,
    /// Long enough to connect and to be answered, so that a slow connection is not given up for ever anew.
    patience: Duration,
    current: Mutex<Current>,
}

/// Whether an operation may be asked again when its connection broke. It may have been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// By its owner, it may.
    Harmless,
    /// A second time it would be answered otherwise.
    Never,
}

struct Current {
    manager: ConnectionManager,
    number: u64,
    made: Instant,
    heard: Instant,
    silent_since: Option<Instant>,
    given_up: bool,
}

impl Link {
    pub(crate) async fn connect(
        client: Client,
        config: ConnectionManagerConfig,
        patience: Duration,
    ) -> Result<Self, RedisError> {
        let manager = ConnectionManager::new_with_config(client.clone(), config.clone()).await?;
        let now = Instant::now();
        let current =
            Current { manager, number: 0, made: now, heard: now, silent_since: None, given_up: false };
        Ok(Self { client, config, patience, current: Mutex::new(current) })
    }

    pub(crate) fn manager(&self) -> ConnectionManager {
        self.current().manager.clone()
    }

    pub(crate) async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        repeat: Repeat,
    ) -> Result<T, RedisError> {
        let (mut manager, number) = self.live()?;
        // It may be dropped before it is answered: the caller has a time-out of its own.
        let mut question =
            Question { link: self, number, asked: Instant::now(), answered: false, demoted: false };
        let mut answer = script.invoke_async(&mut manager).await;
        if repeat == Repeat::Harmless && answer.as_ref().is_err_and(is_broken) {
            // The other side closed it while it was idle, which is found out by its use; it is being made again.
            answer = script.invoke_async(&mut manager).await;
        }
        question.answered = answer.as_ref().err().is_none_or(is_answer);
        question.demoted = answer.as_ref().is_err_and(is_demoted);
        answer
    }

    fn live(&self) -> Result<(ConnectionManager, u64), RedisError> {
        let mut current = self.current();
        if current.given_up {
            *current = Current {
                manager: ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone())?,
                number: current.number + 1,
                made: Instant::now(),
                heard: Instant::now(),
                silent_since: None,
                given_up: false,
            };
        }
        Ok((current.manager.clone(), current.number))
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() && !error.is_timeout() && !error.is_connection_refusal()
}

/// Whether the server said so. A refused login is no answer to what was asked.
fn is_answer(error: &RedisError) -> bool {
    !matches!(error.kind(), ErrorKind::Io | ErrorKind::AuthenticationFailed) && error.code() != Some("NOAUTH")
}

/// Whether the server was the master once: the address may lead to another one by now.
fn is_demoted(error: &RedisError) -> bool {
    matches!(error.code(), Some("READONLY" | "MASTERDOWN"))
}

struct Question<'a> {
    link: &'a Link,
    number: u64,
    asked: Instant,
    answered: bool,
    demoted: bool,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let mut current = self.link.current();
        if current.number != self.number {
            return;
        }
        if self.demoted {
            // Not at once, in case it is the only one there is.
            current.given_up = current.made.elapsed() >= self.link.patience;
            return;
        }
        if self.answered {
            (current.heard, current.silent_since) = (Instant::now(), None);
            return;
        }
        let asked = self.asked.max(current.heard);
        let since = *current.silent_since.get_or_insert(asked);
        current.given_up = since.elapsed() >= self.link.patience;
    }
}
