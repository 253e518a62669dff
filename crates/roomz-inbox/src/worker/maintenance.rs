use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::events::Events;
use crate::telemetry;

/// The interval of the gauges.
const STATS_INTERVAL: Duration = Duration::from_secs(10);
/// The interval at which rows whose retention is over are deleted.
const PURGE_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// The pause after a batch of deletions is this many times as long as the batch.
const PURGE_PAUSE_FACTOR: u32 = 9;
/// The shortest pause after a batch of deletions.
const PURGE_PAUSE_MIN: Duration = Duration::from_millis(10);

/// Records the gauges and deletes rows whose retention is over.
pub(crate) async fn maintain(events: Events, stop: CancellationToken) {
    let mut next_purge = Instant::now();
    while !stop.is_cancelled() {
        match events.queue.stats().await {
            Ok(stats) => telemetry::stats(stats),
            Err(error) => telemetry::database_failed("stats", error),
        }
        if Instant::now() >= next_purge && purge(&events, &stop).await {
            next_purge = Instant::now() + PURGE_INTERVAL;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(STATS_INTERVAL) => {}
        }
    }
}

/// Deletes rows in small batches with pauses. Returns false if the database failed.
async fn purge(events: &Events, stop: &CancellationToken) -> bool {
    while !stop.is_cancelled() {
        let start = Instant::now();
        match events.queue.purge().await {
            Ok(0) => return true,
            Ok(_) => {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(PURGE_PAUSE_MIN.max(start.elapsed() * PURGE_PAUSE_FACTOR)) => {}
                }
            }
            Err(error) => {
                telemetry::database_failed("purge", error);
                return false;
            }
        }
    }
    true
}
