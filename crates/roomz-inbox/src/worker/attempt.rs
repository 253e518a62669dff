use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomz_sql::db::backoff::Backoff;
use roomz_sql::db::pool::Transaction;
use roomz_sql::db::queue::Failed;
use roomz_webhook::roomz_protocol::Payload;
use roomz_webhook::store::Owner;
use roomz_webhook::{Event, EventData};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::error::BoxError;
use crate::error_text::{bounded, error_text, panic_text};
use crate::events::Events;
use crate::job::Job;
use crate::queue::OwnerUpdate;
use crate::queue::row::TakenEvent;
use crate::telemetry;
use crate::worker::prefetch::HandlerPermit;
use crate::worker::settings::{Handler, WorkerSettings};

/// The pauses before an outcome is recorded again.
const RECORD_BACKOFF: Backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(1) };
/// The pause after a renewal that failed.
const RENEW_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Syncs a commit to disk, by a commit that waits for it.
const CONFIRM: &str = "confirm";

/// Replaces the text of an error that the database does not accept.
const UNSTORABLE_TEXT: &str = "the database rejected the text of the error; the log of the worker has it";

/// Whether the database rejected a value, for example a character that its encoding does not have.
fn rejects_values(failed: &Failed) -> bool {
    let Failed::Database(error) = failed else { return false };
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
    match code.parse::<u32>() {
        // SQLite: a constraint or a size. The last byte holds the primary code.
        Ok(number) if code.len() < 5 => matches!(number & 0xff, 18 | 19),
        _ => code.starts_with("22") || code.starts_with("23"),
    }
}

/// One attempt of an event that this worker has taken.
pub(crate) struct Attempt {
    pub(crate) events: Events,
    pub(crate) settings: Arc<WorkerSettings>,
    pub(crate) owner: Owner,
    pub(crate) since: Instant,
    pub(crate) event: Arc<TakenEvent>,
}

/// How a handler ended.
enum HandlerOutcome {
    /// It returned `Ok`, and the completion is to be recorded.
    Handled,
    /// Its transaction is committed, and so is the completion. The age of the event.
    Done(Duration),
    Failed(String),
    /// Another worker has the event.
    LeaseLost,
    ShutDown,
}

impl Attempt {
    /// Runs the handler and records what happened. The slot is free when the handler and its transaction have
    /// ended.
    pub(crate) async fn run<S, T>(self, service: S, abort: CancellationToken, slot: HandlerPermit)
    where
        S: Handler<T>,
        T: Payload,
    {
        if self.counted() > self.settings.max_attempts {
            drop(slot);
            return self.record_exhausted().await;
        }
        let event = match self.event::<T>() {
            Ok(event) => event,
            // Another worker, newer or older, may handle it.
            Err(error) => {
                drop(slot);
                return self.fail(error).await;
            }
        };
        let outcome = self.handle(service, event, &abort).await;
        drop(slot);
        match outcome {
            HandlerOutcome::Handled => {
                let completed = self.record("complete", self.completion()).await;
                self.ended(completed, |age| telemetry::done(&self.event.key, age)).await;
            }
            HandlerOutcome::Done(age) => {
                // The commit is known. Without a confirmation, the event is done all the same.
                if !self.events.queue.pool.is_durable {
                    let _ = self.record(CONFIRM, self.completion()).await;
                }
                telemetry::done(&self.event.key, age);
            }
            HandlerOutcome::Failed(error) => self.fail(error).await,
            HandlerOutcome::LeaseLost => telemetry::attempt_ended(&self.event.key, telemetry::LOST),
            HandlerOutcome::ShutDown => self.give_back().await,
        }
    }

    /// Whether an earlier attempt did not end with success: its process may have died, and may die again.
    pub(crate) fn is_repeated(&self) -> bool {
        self.event.attempt > 1
    }

    /// The number of attempts that count towards the maximum.
    fn counted(&self) -> u32 {
        self.event.attempt.saturating_sub(self.event.uncounted_attempts)
    }

    /// Records a dead letter if the last attempt that was permitted has not recorded its end.
    async fn record_exhausted(mut self) {
        // This attempt calls no handler.
        Arc::make_mut(&mut self.event).attempt = self.event.attempt.saturating_sub(1);
        let last = bounded(self.event.last_error.as_deref().unwrap_or("none was recorded"));
        let error = format!(
            "the last attempt did not end: its process died, or it lost its lease. Last error: {last}"
        );
        self.dead(error).await;
    }

    /// Returns the event, or why it cannot be handled.
    fn event<T: Payload>(&self) -> Result<Event<T>, String> {
        let event = Event::parse(&self.event.body)
            .map_err(|error| format!("the event cannot be read: {}", error_text(&error)))?;
        event.typed().ok_or_else(|| match &event.data {
            EventData::Unknown(unknown) => {
                format!("the worker cannot handle the type {}: {}", event.event_type, unknown.reason())
            }
            _ => format!("the worker does not handle the type {}", event.event_type),
        })
    }

    /// Runs the handler under a lease that is renewed, and commits its transaction.
    async fn handle<S, T>(&self, mut service: S, event: Event<T>, abort: &CancellationToken) -> HandlerOutcome
    where
        S: Handler<T>,
        T: Payload,
    {
        let (worker, mut returned) = oneshot::channel();
        let (taken, pool) = (Arc::clone(&self.event), Some(self.events.queue.pool.clone()));
        let job = Job { event, taken, pool, transaction: None, worker: Some(worker) };
        // A task, so that a panic ends the attempt and not the worker.
        let mut handler = AbortOnDropHandle::new(tokio::spawn(async move {
            poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
            service.call(job).await.map_err(Into::into)
        }));
        let result = tokio::select! {
            biased;
            result = &mut handler => result,
            () = self.renew_until_lost() => return HandlerOutcome::LeaseLost,
            () = abort.cancelled() => return HandlerOutcome::ShutDown,
            () = sleep(self.settings.handler_timeout) => {
                return HandlerOutcome::Failed(format!("the handler did not end within {:?}", self.settings.handler_timeout));
            }
        };
        let (error, returned) = match (result, returned.try_recv()) {
            (Ok(Ok(())), Ok(Some(transaction))) => return self.commit(transaction).await,
            (Ok(Ok(())), Ok(None)) => return HandlerOutcome::Handled,
            (Ok(Ok(())), Err(_)) => {
                return HandlerOutcome::Failed(
                    "the handler returned but a task still has its `Job`; drop the `Job` before the handler returns".to_owned(),
                );
            }
            (Ok(Err(error)), returned) => {
                let error: BoxError = error;
                (error_text(&*error), returned)
            }
            (Err(error), returned) => (panic_text(error), returned),
        };
        if let Ok(Some(transaction)) = returned {
            // Keeps the connection. If this fails, the connection is closed.
            let _ = transaction.rollback().await;
        }
        HandlerOutcome::Failed(error)
    }

    /// Renews the lease until another worker has the event.
    async fn renew_until_lost(&self) {
        let interval = self.settings.lease / 3;
        let mut pause = interval;
        loop {
            sleep(pause).await;
            pause = match self.update(OwnerUpdate::Renew { lease: self.settings.lease }).await {
                Ok(Some(_)) => interval,
                Ok(None) => return,
                Err(error) => {
                    telemetry::database_failed("renew", error);
                    RENEW_RETRY_INTERVAL.min(interval)
                }
            };
        }
    }

    async fn update(&self, update: OwnerUpdate<'_>) -> Result<Option<Duration>, Failed> {
        self.events.queue.update(&self.event.key, self.owner, self.event.attempt, update).await
    }

    const fn completion(&self) -> OwnerUpdate<'static> {
        OwnerUpdate::Complete { retention: self.events.retention }
    }

    /// Completes the event in the transaction of the handler. Fails if this attempt lost the event.
    async fn commit(&self, transaction: Box<dyn Transaction>) -> HandlerOutcome {
        let Events { queue, retention, .. } = &self.events;
        let since = tokio::time::Instant::now();
        let completed = queue.commit(transaction, &self.event.key, self.owner, *retention);
        // The lease is not renewed any more, and the database may never reply.
        let completed =
            timeout(self.settings.lease, completed).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        if let Err(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) = completed {
            queue.pool.suspect(since);
        }
        let failed = |error| format!("the transaction of the handler failed: {}", error_text(&error));
        completed.map_or_else(|error| HandlerOutcome::Failed(failed(error)), HandlerOutcome::Done)
    }

    /// Records a failed attempt.
    async fn fail(self, error: String) {
        let counted = self.counted();
        // A dead letter that was retried has all its attempts, however old it is.
        let is_too_old = self.event.uncounted_attempts == 0
            && self.event.age + self.since.elapsed() > self.settings.max_age;
        if counted >= self.settings.max_attempts || is_too_old {
            return self.dead(error).await;
        }
        // Less a random part of up to a half: events that failed together do not run together again.
        let pause = self.settings.backoff.after(counted).mul_f64(rand::random_range(0.5..=1.0));
        let failed = self.record("fail", OwnerUpdate::RetryAfter { pause, error: &error }).await;
        self.ended(failed, |_| telemetry::attempt_failed(&self.event.key, self.event.attempt, pause, &error))
            .await;
    }

    /// Records a dead letter.
    async fn dead(self, error: String) {
        let retention = self.settings.dead_letter_retention;
        let dead = self.record("fail", OwnerUpdate::Dead { retention, error: &error }).await;
        self.ended(dead, |_| telemetry::dead_letter(&self.event.key, self.event.attempt, &error)).await;
    }

    /// Makes the event of a dropped handler available to other workers at once.
    async fn give_back(self) {
        if let Err(error) = self.update(OwnerUpdate::GiveBack).await {
            telemetry::database_failed("give_back", error);
        }
        telemetry::attempt_ended(&self.event.key, telemetry::SHUT_DOWN);
    }

    /// Gives the event back before its handler started. The attempt does not count.
    pub(crate) async fn give_back_unstarted(mut self) {
        Arc::make_mut(&mut self.event).attempt = self.event.attempt.saturating_sub(1);
        self.record("give_back", OwnerUpdate::GiveBack).await;
        // A worker of this process may be free.
        self.events.arrived.notify_one();
    }

    /// Tries to record an outcome until the lease ends: then another worker runs the event again. `None` if
    /// that failed.
    async fn record(&self, operation: &'static str, mut update: OwnerUpdate<'_>) -> Option<Option<Duration>> {
        let (start, mut failures) = (Instant::now(), 0);
        loop {
            match self.update(update).await {
                Ok(result) => return Some(result),
                // It waits for the transactions of other handlers.
                Err(Failed::TimedOut) if operation == CONFIRM => {}
                Err(failed) => {
                    // The end of the attempt must be recorded, also without its text. The log has it.
                    if let OwnerUpdate::RetryAfter { error, .. } | OwnerUpdate::Dead { error, .. } =
                        &mut update
                        && rejects_values(&failed)
                    {
                        *error = UNSTORABLE_TEXT;
                    }
                    telemetry::database_failed(operation, failed);
                }
            }
            failures += 1;
            let pause = RECORD_BACKOFF.after(failures);
            if start.elapsed() + pause > self.settings.lease {
                return None;
            }
            sleep(pause).await;
        }
    }

    /// Reports how the attempt ended: what was recorded, or that the event was lost or the outcome not
    /// recorded.
    async fn ended(&self, recorded: Option<Option<Duration>>, report: impl FnOnce(Duration)) {
        match recorded {
            Some(Some(age)) => report(age),
            // The transaction of the handler may have been committed, and only the reply was lost. Then this
            // finds that this attempt completed the event. It changes nothing if another worker has the
            // event.
            Some(None) => {
                if let Ok(Some(age)) = self.update(self.completion()).await {
                    return telemetry::done(&self.event.key, age);
                }
                telemetry::attempt_ended(&self.event.key, telemetry::LOST);
            }
            None => telemetry::attempt_ended(&self.event.key, telemetry::UNRECORDED),
        }
    }
}
