use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomz_webhook::roomz_protocol::Payload;
use roomz_webhook::store::{ClaimKey, Owner};
use roomz_webhook::{Event, EventData};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::BoxError;
use crate::error_text::{ErrorText, bounded, panic_text};
use crate::inbox::Inbox;
use crate::job::{Job, JobContext, Returned};
use crate::queue::Failed;
use crate::row::{TakenRow, key, time};
use crate::telemetry::{self, AttemptOutcome};
use crate::transaction::Transaction;
use crate::worker_builder::{DeadLetter, WorkerSettings};

/// The first and the longest pause before an outcome is recorded again.
const RECORD_BACKOFF_MIN: Duration = Duration::from_millis(100);
const RECORD_BACKOFF_MAX: Duration = Duration::from_secs(1);
/// The pause after a renewal that failed.
const RENEW_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// One attempt of an event that this worker has taken.
pub(crate) struct Attempt {
    inbox: Inbox,
    settings: Arc<WorkerSettings>,
    owner: Owner,
    key: ClaimKey,
    /// Attempts with this one, and those that do not count towards the maximum.
    attempt: u32,
    earlier: u32,
    age: Duration,
    taken: Instant,
    context: JobContext,
    last_error: Option<String>,
}

/// How a handler ended.
enum Ended {
    /// It returned `Ok`. The transaction, if it used one.
    Handled(Option<Transaction>),
    Failed(String),
    /// Another worker has the event.
    LeaseLost,
    ShutDown,
}

impl Attempt {
    pub(crate) fn new(
        inbox: &Inbox,
        settings: Arc<WorkerSettings>,
        owner: Owner,
        taken: Instant,
        row: TakenRow,
    ) -> Result<Self, sqlx::Error> {
        let (namespace, id, attempt, earlier, received, age, body, last_error) = row;
        let (attempt, earlier) =
            (u32::try_from(attempt).unwrap_or(u32::MAX), u32::try_from(earlier).unwrap_or_default());
        let context = JobContext {
            body: body.into(),
            namespace: namespace.as_str().into(),
            attempt,
            received: time(received),
            pool: inbox.queue.pool.clone(),
        };
        Ok(Self {
            inbox: inbox.clone(),
            settings,
            owner,
            key: key(&namespace, &id)?,
            attempt,
            earlier,
            age: Duration::from_millis(u64::try_from(age).unwrap_or_default()),
            taken,
            context,
            last_error,
        })
    }

    /// Runs the handler and records what happened.
    pub(crate) async fn run<S, T>(self, service: S, abort: CancellationToken)
    where
        S: Service<Job<T>, Response = ()> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        T: Payload,
    {
        if self.counted() > self.settings.max_attempts {
            return self.dead_without_handler().await;
        }
        let event = match self.event::<T>() {
            Ok(event) => event,
            Err(error) => return self.dead(error).await,
        };
        match self.handle(service, event, &abort).await {
            Ended::Handled(transaction) => self.complete(transaction).await,
            Ended::Failed(error) => self.fail(error).await,
            Ended::LeaseLost => telemetry::attempt_ended(&self.key, AttemptOutcome::Lost),
            Ended::ShutDown => self.give_back(true).await,
        }
    }

    /// The number of attempts that count towards the maximum.
    fn counted(&self) -> u32 {
        self.attempt.saturating_sub(self.earlier)
    }

    /// Records a dead letter if the last attempt that was permitted has not recorded its end.
    async fn dead_without_handler(mut self) {
        // This attempt calls no handler.
        self.attempt = self.attempt.saturating_sub(1);
        let last = bounded(self.last_error.as_deref().unwrap_or("none was recorded"));
        let error = format!(
            "the last attempt did not end: its process died, or it lost its lease. Last error: {last}"
        );
        self.dead(error).await;
    }

    /// Returns the event, or why it cannot be handled.
    fn event<T: Payload>(&self) -> Result<Event<T>, String> {
        let event = Event::parse(&self.context.body)
            .map_err(|error| format!("the event cannot be read: {}", ErrorText(&error)))?;
        event.typed().ok_or_else(|| match &event.data {
            EventData::Unknown(unknown) => {
                format!("the worker cannot handle the type {}: {}", event.event_type, unknown.reason())
            }
            _ => format!("the worker does not handle the type {}", event.event_type),
        })
    }

    /// Runs the handler under a lease that is renewed.
    async fn handle<S, T>(&self, mut service: S, event: Event<T>, abort: &CancellationToken) -> Ended
    where
        S: Service<Job<T>, Response = ()> + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        T: Payload,
    {
        let returned = Arc::new(Returned::default());
        let job = Job::new(event, self.context.clone(), Arc::clone(&returned));
        // A task, so that a panic ends the attempt and not the worker.
        let mut handler = Handler(tokio::spawn(async move {
            poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
            service.call(job).await.map_err(Into::into)
        }));
        let result = tokio::select! {
            biased;
            result = &mut handler.0 => result,
            () = self.lease_lost() => return Ended::LeaseLost,
            () = abort.cancelled() => return Ended::ShutDown,
            () = sleep(self.settings.handler_timeout) => {
                return Ended::Failed(format!("the handler did not end within {:?}", self.settings.handler_timeout));
            }
        };
        let returned = returned.take();
        match (result, returned) {
            (Ok(Ok(())), Some(transaction)) => Ended::Handled(transaction),
            (Ok(Ok(())), None) => Ended::Failed(
                "the handler returned but a task still has its `Job`; drop the `Job` before the handler returns".to_owned(),
            ),
            (Ok(Err(error)), returned) => {
                roll_back(returned).await;
                let error: BoxError = error;
                Ended::Failed(ErrorText(&*error).to_string())
            }
            (Err(error), returned) => {
                roll_back(returned).await;
                Ended::Failed(panic_text(error))
            }
        }
    }

    /// Renews the lease until another worker has the event.
    async fn lease_lost(&self) {
        let interval = self.settings.lease / 3;
        let mut pause = interval;
        loop {
            sleep(pause).await;
            pause = match self.inbox.queue.renew(&self.key, self.owner, self.settings.lease).await {
                Ok(true) => interval,
                Ok(false) => return,
                Err(error) => {
                    telemetry::database_failed("renew", &error);
                    RENEW_RETRY_INTERVAL.min(interval)
                }
            };
        }
    }

    /// Completes the event, in the transaction of the handler if there is one.
    async fn complete(self, transaction: Option<Transaction>) {
        let retention = self.inbox.retention;
        let completed = match transaction {
            Some(mut transaction) => {
                let completed = async {
                    let queue = &self.inbox.queue;
                    let age = queue.complete_in(&mut transaction, &self.key, self.owner, retention).await?;
                    match age {
                        Some(_) => transaction.commit().await?,
                        None => transaction.rollback().await?,
                    }
                    Ok::<_, sqlx::Error>(age)
                };
                // The lease is not renewed any more, and the database may never reply.
                let completed = timeout(self.settings.lease, completed).await;
                match completed.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                    Ok(age) => Some(age),
                    // The commit may have happened. Then this finds that the event is done, and changes nothing.
                    Err(error) => {
                        let text = format!("the transaction of the handler failed: {}", ErrorText(&error));
                        return self.fail(text).await;
                    }
                }
            }
            None => {
                self.record("complete", || self.inbox.queue.complete(&self.key, self.owner, retention)).await
            }
        };
        match completed {
            Some(Some(age)) => telemetry::done(&self.key, age),
            Some(None) => telemetry::attempt_ended(&self.key, AttemptOutcome::Lost),
            None => telemetry::attempt_ended(&self.key, AttemptOutcome::Unrecorded),
        }
    }

    /// Records a failed attempt.
    async fn fail(self, error: String) {
        let counted = self.counted();
        // A dead letter that was retried has all its attempts, however old it is.
        let is_too_old = self.earlier == 0 && self.age + self.taken.elapsed() > self.settings.max_age;
        if counted >= self.settings.max_attempts || is_too_old {
            return self.dead(error).await;
        }
        let pause = self.settings.backoff.after(counted);
        match self.record_failure(Failed::RetryAfter(pause), &error).await {
            Some(true) => telemetry::attempt_failed(&self.key, self.attempt, pause, &error),
            Some(false) => telemetry::attempt_ended(&self.key, AttemptOutcome::Lost),
            None => telemetry::attempt_ended(&self.key, AttemptOutcome::Unrecorded),
        }
    }

    /// Records a dead letter.
    async fn dead(self, error: String) {
        let failed = Failed::Dead { retention: self.settings.dead_letter_retention };
        match self.record_failure(failed, &error).await {
            Some(true) => {
                telemetry::dead_letter(&self.key, self.attempt, &error);
                if let Some(callback) = &self.settings.callback {
                    callback(&DeadLetter {
                        namespace: Arc::clone(&self.context.namespace),
                        event_id: self.key.id(),
                        attempts: self.attempt,
                        error,
                    });
                }
            }
            Some(false) => telemetry::attempt_ended(&self.key, AttemptOutcome::Lost),
            None => telemetry::attempt_ended(&self.key, AttemptOutcome::Unrecorded),
        }
    }

    async fn record_failure(&self, failed: Failed, error: &str) -> Option<bool> {
        let queue = &self.inbox.queue;
        self.record("fail", || queue.fail(&self.key, self.owner, failed, self.attempt, error)).await
    }

    /// Makes the event available to other workers at once.
    pub(crate) async fn give_back(self, has_started: bool) {
        if let Err(error) = self.inbox.queue.give_back(&self.key, self.owner, has_started).await {
            telemetry::database_failed("give back", &error);
        }
        telemetry::attempt_ended(&self.key, AttemptOutcome::ShutDown);
    }

    /// Tries to record an outcome until the lease ends: then another worker runs the event again. `None` if that failed.
    async fn record<R, F>(&self, operation: &'static str, write: impl Fn() -> F) -> Option<R>
    where
        F: Future<Output = Result<R, sqlx::Error>>,
    {
        let start = Instant::now();
        let mut pause = RECORD_BACKOFF_MIN;
        loop {
            match write().await {
                Ok(result) => return Some(result),
                Err(error) => telemetry::database_failed(operation, &error),
            }
            if start.elapsed() + pause > self.settings.lease {
                return None;
            }
            sleep(pause).await;
            pause = (pause * 2).min(RECORD_BACKOFF_MAX);
        }
    }
}

/// A handler that is dropped when the attempt ends early.
struct Handler(JoinHandle<Result<(), BoxError>>);

impl Drop for Handler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Rolls back and keeps the connection. If that fails, the connection is closed.
async fn roll_back(returned: Option<Option<Transaction>>) {
    if let Some(Some(transaction)) = returned {
        let _ = transaction.rollback().await;
    }
}
