use roomz_inbox::{BoxError, EventId, Job, WorkspacePresenceChanged};
use roomz_webhook::roomz_protocol::Payload;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tower::{Service, service_fn};

use super::WAIT;

/// A call of a handler, which waits until the test tells it what to do.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: EventId,
    pub(crate) attempt: u32,
    reply: oneshot::Sender<Reply>,
}

#[derive(Debug)]
enum Reply {
    /// Writes an effect and returns `Ok`.
    Succeed,
    /// Returns `Ok` without an effect.
    Skip,
    /// Writes an effect and returns an error.
    Fail(&'static str),
    /// Writes an effect and panics.
    Panic(&'static str),
}

/// The calls of a handler.
pub(crate) struct Calls(mpsc::UnboundedReceiver<Call>);

impl Calls {
    /// Returns a handler, and its calls.
    pub(crate) fn new() -> (
        impl Service<Job<WorkspacePresenceChanged>, Response = (), Error = BoxError, Future: Send + 'static>
        + Clone
        + Send
        + 'static,
        Self,
    ) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let service = service_fn(move |mut job: Job<WorkspacePresenceChanged>| {
            let sender = sender.clone();
            async move {
                let (reply, outcome) = oneshot::channel();
                let call = Call { id: job.event().id, attempt: job.attempt(), reply };
                sender.send(call)?;
                match outcome.await? {
                    Reply::Succeed => write_effect(&mut job).await,
                    Reply::Skip => Ok(()),
                    Reply::Fail(error) => {
                        write_effect(&mut job).await?;
                        Err(error.into())
                    }
                    Reply::Panic(message) => {
                        write_effect(&mut job).await?;
                        std::panic::panic_any(message)
                    }
                }
            }
        });
        (service, Self(receiver))
    }

    /// Waits for the next call.
    pub(crate) async fn next(&mut self) -> Call {
        timeout(WAIT, self.0.recv()).await.expect("no call").expect("the worker ended")
    }

    /// Whether there is no call now.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Call {
    /// The handler writes an effect and returns `Ok`.
    pub(crate) fn succeed(self) {
        self.reply.send(Reply::Succeed).unwrap();
    }

    /// The handler returns `Ok` without an effect.
    pub(crate) fn skip(self) {
        self.reply.send(Reply::Skip).unwrap();
    }

    /// The handler writes an effect and returns an error.
    pub(crate) fn fail(self, error: &'static str) {
        self.reply.send(Reply::Fail(error)).unwrap();
    }

    /// The handler writes an effect and panics.
    pub(crate) fn panic(self, message: &'static str) {
        self.reply.send(Reply::Panic(message)).unwrap();
    }

    /// Waits until the handler was dropped.
    pub(crate) async fn dropped(mut self) {
        timeout(WAIT, self.reply.closed()).await.expect("the handler still runs");
    }
}

/// Inserts a row in the transaction of the job.
pub(crate) async fn write_effect<T: Payload>(job: &mut Job<T>) -> Result<(), BoxError> {
    let (id, attempt) = (job.event().id.to_string(), i64::from(job.attempt()));
    let insert = "INSERT INTO effects (event_id, attempt) VALUES ($1, $2)";
    if job.is_postgres() {
        // PgBouncer in transaction mode needs statements without a name.
        let query = sqlx::query(insert).persistent(false).bind(id).bind(attempt);
        query.execute(job.postgres().await?).await?;
    } else {
        sqlx::query(insert).bind(id).bind(attempt).execute(job.sqlite().await?).await?;
    }
    Ok(())
}
