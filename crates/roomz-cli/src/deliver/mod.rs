//! Sends the deliveries of a [`Source`] over several connections, with a rate limit and retries.

mod advice;
mod pace;
mod progress;
pub(crate) mod report;
mod response;
mod retry;
pub(crate) mod stats;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::pace::{Pace, sleep_until};
use self::progress::Progress;
use self::report::Report;
use self::response::ReceiverResponse;
use self::retry::RetryPolicy;
use self::stats::{Outcome, Stats};
use crate::args::DeliverArgs;
use crate::client::{Client, Connection, Outgoing, Target};
use crate::error::CliError;

/// A longer response body is not read to its end, and its connection is not reused.
const MAX_RESPONSE_BODY: usize = 64 * 1024;

/// The deliveries to send.
pub(crate) trait Source: Send + Sync + 'static {
    /// The number of deliveries.
    fn total(&self) -> u64;

    /// Returns the next delivery. Called at most [`total`](Self::total) times.
    fn next(&self) -> Option<Delivery>;
}

/// One delivery, possibly sent in several attempts.
pub(crate) struct Delivery {
    pub(crate) outgoing: Outgoing,
    /// Whether the signature is wrong on purpose, so that the receiver must answer 401.
    pub(crate) forged: bool,
}

struct Shared<S> {
    client: Client,
    source: S,
    retry: Option<RetryPolicy>,
    pace: Pace,
    done: Arc<AtomicU64>,
    stop: CancellationToken,
}

/// Sends all deliveries and returns the report. Without retries, fails before the first delivery when the receiver is
/// unreachable.
pub(crate) async fn run(target: Target, source: impl Source, args: &DeliverArgs) -> Result<Report, CliError> {
    let client = Client::new(target, args.connect.timeout, args.connect.cacert.as_deref())?;
    let retry = args.retry.map(|max_retries| RetryPolicy { max_retries, backoff: args.backoff });
    // With retries, a failed connection is retried like any other failed attempt.
    let mut first_connection = if retry.is_none() { Some(client.open().await?) } else { None };

    let total = source.total();
    let done = Arc::new(AtomicU64::new(0));
    let stop = CancellationToken::new();
    let started = Instant::now();
    let shared = Arc::new(Shared {
        client,
        source,
        retry,
        pace: Pace::new(started, args.rate, total),
        done: Arc::clone(&done),
        stop: stop.clone(),
    });
    let interrupt = tokio::spawn(stop_on_interrupt(stop.clone()));
    let progress = Progress::start(total, args, Arc::clone(&done));

    let mut workers = JoinSet::new();
    for _ in 0..u64::from(args.connections).min(total) {
        workers.spawn(run_worker(Arc::clone(&shared), first_connection.take()));
    }
    let mut stats = Stats::new().ok_or_else(worker_error)?;
    while let Some(joined) = workers.join_next().await {
        stats.merge(joined.ok().flatten().ok_or_else(worker_error)?);
    }
    let elapsed = started.elapsed();
    interrupt.abort();
    progress.finish();
    let done = done.load(Ordering::Relaxed);
    Ok(Report { stats, elapsed, total, done, interrupted: stop.is_cancelled() })
}

async fn run_worker<S: Source>(shared: Arc<Shared<S>>, mut connection: Option<Connection>) -> Option<Stats> {
    let mut stats = Stats::new()?;
    while let Some(started) = shared.pace.wait_for_turn(&shared.stop).await
        && let Some(delivery) = shared.source.next()
    {
        shared.deliver(&delivery, started, &mut connection, &mut stats).await;
        shared.done.fetch_add(1, Ordering::Relaxed);
    }
    Some(stats)
}

impl<S: Source> Shared<S> {
    /// The latency of the first attempt counts from `started`, that of a retry from its own start.
    async fn deliver(
        &self,
        delivery: &Delivery,
        mut started: Instant,
        connection: &mut Option<Connection>,
        stats: &mut Stats,
    ) {
        for attempt in 1.. {
            let response = self.client.request(connection, &delivery.outgoing, MAX_RESPONSE_BODY).await;
            let result = response.map(|raw| ReceiverResponse::new(&raw.head, &raw.body, SystemTime::now()));
            let outcome = stats.record_attempt(&result, started.elapsed(), delivery.forged);
            if outcome == Outcome::Expected {
                return;
            }
            let retry_after = result.as_ref().ok().and_then(|response| response.retry_after);
            let delay = self.retry.and_then(|retry| retry.delay_after(attempt, retry_after, rand::random()));
            // The receiver has already accepted the forgery, so a retry cannot succeed.
            let delay = delay.filter(|_| outcome != Outcome::ForgeryAccepted);
            let retries = match delay {
                Some(delay) => sleep_until(Instant::now() + delay, &self.stop).await,
                None => false,
            };
            if !retries {
                stats.record_failure(&result, delivery.forged);
                return;
            }
            stats.retries += 1;
            started = Instant::now();
        }
    }
}

/// Stops new deliveries on the first Ctrl-C and lets those in flight finish; the second Ctrl-C exits at once.
async fn stop_on_interrupt(stop: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.cancel();
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    }
}

fn worker_error() -> CliError {
    CliError::failed("a worker task ended unexpectedly; this is a bug: please report it")
}
