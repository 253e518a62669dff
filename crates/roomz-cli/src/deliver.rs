//! Delivers what a source gives, over several connections, at a pace, with retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::args::DeliverArgs;
use crate::client::{Client, Connection, Outgoing};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::Report;
use crate::retry::Retry;
use crate::tally::{Outcome, Tally};
use crate::target::Target;

/// Deliveries to be made.
pub(crate) trait Source: Send + Sync + 'static {
    /// How many there are.
    fn total(&self) -> u64;

    /// The next one; called `total` times.
    fn next(&self) -> Option<Delivery>;
}

/// One delivery, which may be tried several times.
pub(crate) struct Delivery {
    pub(crate) outgoing: Outgoing,
    /// It has a wrong signature, and should be answered 401.
    pub(crate) forged: bool,
}

struct Shared<S> {
    client: Client,
    source: S,
    retry: Option<Retry>,
    pace: Pace,
    done: Arc<AtomicU64>,
    stop: CancellationToken,
}

/// Delivers everything and reports; fails before the first delivery when nobody listens.
pub(crate) async fn run(url: &str, source: impl Source, args: &DeliverArgs) -> Result<Report, Failure> {
    let client = Client::new(Target::parse(url)?, args.timeout)?;
    let retry = args.retry.map(|times| Retry { times, back_off: args.back_off });
    // With retries, a receiver that is not there yet is waited for like one that refuses.
    let mut first = if retry.is_none() { Some(client.try_out().await?) } else { None };

    let total = source.total();
    let done = Arc::new(AtomicU64::new(0));
    let stop = CancellationToken::new();
    let began = Instant::now();
    let shared = Arc::new(Shared {
        client,
        source,
        retry,
        pace: Pace { began, rate: args.rate, total, taken: AtomicU64::new(0) },
        done: Arc::clone(&done),
        stop: stop.clone(),
    });
    let interrupt = tokio::spawn(stop_on_interrupt(stop.clone()));
    let progress = Progress::begin(total, args, Arc::clone(&done));

    let mut workers = JoinSet::new();
    for _ in 0..u64::from(args.connections).min(total) {
        workers.spawn(work(Arc::clone(&shared), first.take()));
    }
    let mut tally = Tally::new().ok_or_else(no_histogram)?;
    while let Some(worked) = workers.join_next().await {
        tally.merge(worked.ok().flatten().ok_or_else(no_histogram)?);
    }
    let took = began.elapsed();
    interrupt.abort();
    progress.end();
    let done = done.load(Ordering::Relaxed);
    Ok(Report { tally, took, total, done, interrupted: stop.is_cancelled() })
}

async fn work<S: Source>(shared: Arc<Shared<S>>, mut connection: Option<Connection>) -> Option<Tally> {
    let mut tally = Tally::new()?;
    while shared.pace.turn(&shared.stop).await
        && let Some(delivery) = shared.source.next()
    {
        shared.deliver(&delivery, &mut connection, &mut tally).await;
        shared.done.fetch_add(1, Ordering::Relaxed);
    }
    Some(tally)
}

impl<S: Source> Shared<S> {
    async fn deliver(&self, delivery: &Delivery, connection: &mut Option<Connection>, tally: &mut Tally) {
        for number in 1.. {
            let began = Instant::now();
            let result = self.client.deliver(connection, &delivery.outgoing).await;
            let outcome = tally.count(&result, began.elapsed(), delivery.forged);
            if outcome == Outcome::AsItShould {
                return;
            }
            let retry_after = result.as_ref().ok().and_then(|answer| answer.retry_after);
            let wait = self.retry.and_then(|retry| retry.wait(number, retry_after));
            // A forged delivery that was accepted is as wrong as it can get.
            let wait = wait.filter(|_| outcome != Outcome::Accepted);
            let goes_on = match wait {
                Some(wait) => sleep_until(Instant::now() + wait, &self.stop).await,
                None => false,
            };
            if !goes_on {
                tally.give_up(&result, delivery.forged);
                return;
            }
            tally.retries += 1;
        }
    }
}

/// Gives each delivery its time.
struct Pace {
    began: Instant,
    rate: Option<f64>,
    total: u64,
    taken: AtomicU64,
}

impl Pace {
    /// Waits until the next delivery may be sent; false when there is none.
    async fn turn(&self, stop: &CancellationToken) -> bool {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        if number >= self.total || stop.is_cancelled() {
            return false;
        }
        match self.rate {
            None => true,
            Some(rate) => {
                #[expect(clippy::cast_precision_loss, reason = "of a number of deliveries that nobody sends")]
                let seconds = number as f64 / rate;
                // A time out of range is one that nobody lives to see.
                let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
                let far = || self.began + Duration::from_secs(31_536_000);
                sleep_until(self.began.checked_add(wait).unwrap_or_else(far), stop).await
            }
        }
    }
}

/// False when it was stopped in the meantime.
async fn sleep_until(deadline: Instant, stop: &CancellationToken) -> bool {
    stop.run_until_cancelled(tokio::time::sleep_until(deadline)).await.is_some()
}

async fn stop_on_interrupt(stop: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.cancel();
        // What is under way gets its answer, unless somebody is in a hurry.
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    }
}

fn no_histogram() -> Failure {
    Failure::failed("a connection ended unexpectedly: please report how this came about")
}
