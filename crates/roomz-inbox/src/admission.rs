use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use roomz_webhook::store::ClaimKey;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use crate::error::{InboxError, InboxErrorKind};
use crate::queue::Queue;
use crate::telemetry;

/// The most events of one transaction.
const MAX_BATCH: usize = 128;
/// The most events that wait for a transaction. Above it, the inbox is full.
const MAX_PENDING: usize = 4_096;
/// The timeout of an event: one transaction before it, and its own.
const ENQUEUE_TIMEOUT: Duration = Duration::from_secs(4);
/// The shortest time between two counts of the open events.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
/// A count takes at most one part in this many of the time.
const COUNT_FRACTION: u32 = 50;

/// What became of an event that was given to the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "an event is new or known")]
pub enum Enqueued {
    /// The event is new and durable.
    New,
    /// The inbox has this event, or had it within its retention.
    Duplicate,
}

/// The events that wait for a transaction. The task ends with the last clone.
#[derive(Clone, Debug)]
pub(crate) struct Admission(mpsc::Sender<Pending>);

struct Pending {
    key: ClaimKey,
    body: Bytes,
    reply: oneshot::Sender<Result<Enqueued, InboxErrorKind>>,
}

impl Admission {
    pub(crate) fn spawn(queue: Queue, max_open: u64, arrived: Arc<Notify>) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_PENDING);
        drop(tokio::spawn(Task { queue, max_open, arrived, open: 0, count_after: None }.run(receiver)));
        Self(sender)
    }

    /// Waits until the event is durable.
    pub(crate) async fn enqueue(&self, key: ClaimKey, body: Bytes) -> Result<Enqueued, InboxError> {
        let (reply, outcome) = oneshot::channel();
        self.0.try_send(Pending { key, body, reply }).map_err(|error| {
            InboxError::new(match error {
                mpsc::error::TrySendError::Full(_) => {
                    telemetry::rejected_as_full(1);
                    InboxErrorKind::Full
                }
                mpsc::error::TrySendError::Closed(_) => InboxErrorKind::Unavailable,
            })
        })?;
        match timeout(ENQUEUE_TIMEOUT, outcome).await {
            Ok(Ok(outcome)) => outcome.map_err(InboxError::new),
            // The event may be durable nevertheless. Its redelivery is a duplicate then. The task ends early only with its runtime.
            Err(_) | Ok(Err(_)) => Err(InboxError::new(InboxErrorKind::Unavailable)),
        }
    }
}

/// Inserts all events that wait in one transaction.
struct Task {
    queue: Queue,
    max_open: u64,
    arrived: Arc<Notify>,
    /// The open events at the last count, and those inserted since then.
    open: u64,
    /// `None` before the first count.
    count_after: Option<Instant>,
}

impl Task {
    async fn run(mut self, mut receiver: mpsc::Receiver<Pending>) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while receiver.recv_many(&mut batch, MAX_BATCH).await > 0 {
            // Nobody waits for these any more. They were not acknowledged.
            batch.retain(|pending: &Pending| !pending.reply.is_closed());
            if batch.is_empty() {
                continue;
            }
            let mut result = self.insert(&batch).await;
            for pending in batch.drain(..) {
                let _ = pending.reply.send(match &mut result {
                    // Of two deliveries of one event in a batch, the first is new.
                    Ok(new) => Ok(if new.remove(&pending.key) { Enqueued::New } else { Enqueued::Duplicate }),
                    Err(kind) => Err(*kind),
                });
            }
        }
    }

    async fn insert(&mut self, batch: &[Pending]) -> Result<HashSet<ClaimKey>, InboxErrorKind> {
        self.count().await;
        if self.open >= self.max_open {
            telemetry::rejected_as_full(batch.len());
            return Err(InboxErrorKind::Full);
        }
        let events: Vec<_> = batch.iter().map(|pending| (&pending.key, &pending.body)).collect();
        match self.queue.insert(&events).await {
            Ok(new) => {
                self.open += new.len() as u64;
                if !new.is_empty() {
                    self.arrived.notify_one();
                }
                Ok(new)
            }
            Err(error) => {
                telemetry::database_failed("enqueue", &error);
                Err(InboxErrorKind::Unavailable)
            }
        }
    }

    /// Counts the open events from time to time. If the count fails, the insert says so.
    async fn count(&mut self) {
        let start = Instant::now();
        if self.count_after.is_some_and(|time| start < time) {
            return;
        }
        let pause = match self.queue.stats().await {
            Ok((waiting, running, ..)) => {
                self.open = u64::try_from(waiting + running).unwrap_or_default();
                if self.open >= self.max_open {
                    telemetry::full(self.open);
                }
                start.elapsed() * COUNT_FRACTION
            }
            // Not before each insert: it would wait for the timeout of the count, too.
            Err(_) => COUNT_INTERVAL,
        };
        self.count_after = Some(Instant::now() + pause.max(COUNT_INTERVAL));
    }
}
