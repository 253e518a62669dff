//! The time of a claim while a store deletes expired rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roomz_protocol::Uuid;
use roomz_sql::SqlStore;
use roomz_webhook::store::ClaimKey;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::report::{Report, percentile};
use crate::stores::{fill_claims, for_each_database, pair};

const ROWS: i64 = 500_000;
/// The duration of each measurement.
const DURATION: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(2);

pub(crate) fn measure(report: &mut Report) {
    let runtime = Runtime::new().unwrap();
    let measured = for_each_database(|name, url| {
        let store = runtime.block_on(SqlStore::builder(url).with_purge_interval(None).connect()).unwrap();
        for _ in 0..report.rounds {
            let alone = runtime.block_on(pair_times(&store));
            runtime.block_on(fill_claims(url, ROWS, 0));
            let of_purge = store.clone();
            let purge = runtime.spawn(async move { of_purge.purge().await });
            let during = runtime.block_on(pair_times(&store));
            purge.abort();
            for (part, text) in [(0.5, "median"), (0.99, "p99")] {
                report.add(format!("claim and completion, {name}, {text} ms"), percentile(&alone, part));
                let name = format!("claim and completion, {name}, during a purge, {text} ms");
                report.add(name, percentile(&during, part));
            }
        }
    });
    if let Err(reason) = measured {
        report.leave_out("claims during a purge", &reason);
    }
}

/// The milliseconds of claims and completions one after another, in order.
async fn pair_times(store: &SqlStore) -> Vec<f64> {
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < DURATION {
        let key = ClaimKey::new(Arc::from("bench"), Uuid::from_u128(rand::random()).into());
        let begin = Instant::now();
        pair(store, &key).await;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        sleep(PAUSE).await;
    }
    times.sort_by(f64::total_cmp);
    times
}
