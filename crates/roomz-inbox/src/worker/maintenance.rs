use std::time::{Duration, Instant};

use roomz_sql::db::purge::purge;
use roomz_sql::db::queue::Failed;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::events::Events;
use crate::telemetry;

/// The interval of the gauges.
const STATS_INTERVAL: Duration = Duration::from_secs(10);
/// Counts that take longer may read many dead rows.
const SLOW_STATS: Duration = Duration::from_millis(100);
/// The shortest interval of the log lines about them.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// The interval at which rows whose retention is over are deleted.
const PURGE_INTERVAL: Duration = Duration::from_mins(10);

/// Records the gauges and deletes rows whose retention is over, which may take longer than the interval of
/// the gauges.
pub(crate) async fn maintain(events: Events, stop: CancellationToken) {
    let maintained = async { tokio::join!(record_gauges(&events), purge_rows(&events)) };
    stop.run_until_cancelled(maintained).await;
}

async fn record_gauges(events: &Events) {
    let mut next_report = Instant::now();
    loop {
        let report = |failed: &Failed| telemetry::database_failed("stats", failed.clone());
        let start = Instant::now();
        telemetry::open(events.queue.open().await.inspect_err(report).ok());
        telemetry::dead(events.queue.dead().await.inspect_err(report).ok());
        // Some of this time, they may have waited for a batch of the purge.
        if start.elapsed() > SLOW_STATS && Instant::now() >= next_report {
            next_report = Instant::now() + REPORT_INTERVAL;
            if let Ok(Some((count, holder))) = events.queue.dead_rows().await {
                telemetry::dead_rows(count, holder.as_deref());
            }
        }
        sleep(STATS_INTERVAL).await;
    }
}

async fn purge_rows(events: &Events) {
    loop {
        let purged = purge(|| events.queue.purge()).await;
        let is_done = purged.map_err(|error| telemetry::database_failed("purge", error)).is_ok();
        sleep(if is_done { PURGE_INTERVAL } else { STATS_INTERVAL }).await;
    }
}
