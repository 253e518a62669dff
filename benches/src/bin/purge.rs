//! The time of a claim while a store deletes millions of expired rows: `purge 3000000`.
//!
//! `cargo run --release -p roomz-benches --bin purge`. Without `postgres`, only SQLite is measured.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that prints a table and may end with a panic"
)]

use std::time::{Duration, Instant};

use roomz_sql::SqlStore;
use roomz_tests::postgres_url_or_skip;
use roomz_webhook::EventId;
use roomz_webhook::store::{ClaimKey, ClaimRequest, Fingerprint, IdempotencyStore as _, Owner};

/// The duration of each measurement.
const DURATION: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[tokio::main]
async fn main() {
    let rows = std::env::args().nth(1).map_or(3_000_000, |rows| rows.parse().unwrap());
    println!("{:<38} {:>10} {:>10}", "claims", "median ms", "p99 ms");

    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/claims.db", directory.path().display());
    let store = SqlStore::builder(url.as_str()).with_purge_interval(None).connect().await.unwrap();
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
                INSERT INTO roomz_claims SELECT 'old', randomblob(16), 2, zeroblob(16), zeroblob(16), 1, 1, i FROM n";
    sqlx::query(fill).bind(rows).execute(&pool).await.unwrap();
    measure("SQLite", &store).await;

    let Some(url) = postgres_url_or_skip() else { return };
    let store = SqlStore::builder(url.as_str()).with_purge_interval(None).connect().await.unwrap();
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let fill = "INSERT INTO roomz_claims SELECT 'old', decode(md5(i::text), 'hex'), 2, '', '', 1, 1, i \
                FROM generate_series(1, $1) AS i";
    sqlx::query(fill).bind(rows).execute(&pool).await.unwrap();
    sqlx::query("ANALYZE roomz_claims").execute(&pool).await.unwrap();
    measure("PostgreSQL", &store).await;
}

/// Measures claims alone, then beside a purge.
async fn measure(name: &str, store: &SqlStore) {
    print_row(&format!("{name}, no purge"), &claim_times(store).await);
    let purge = {
        let store = store.clone();
        tokio::spawn(async move { store.purge().await })
    };
    let times = claim_times(store).await;
    purge.abort();
    print_row(&format!("{name}, during a purge"), &times);
}

async fn claim_times(store: &SqlStore) -> Vec<Duration> {
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < DURATION {
        let id: EventId = format!("{:032x}", rand_id()).parse().unwrap();
        let key = ClaimKey::new("new".into(), id);
        let owner = Owner::random();
        let request = ClaimRequest::new(owner, Fingerprint::of(b"{}"), WEEK, WEEK);
        let begin = Instant::now();
        let _ = store.claim(&key, &request).await.unwrap();
        times.push(begin.elapsed());
        let _ = store.complete(&key, owner, WEEK).await.unwrap();
        tokio::time::sleep(PAUSE).await;
    }
    times.sort_unstable();
    times
}

fn rand_id() -> u128 {
    u128::from_be_bytes(Owner::random().to_bytes())
}

fn print_row(name: &str, times: &[Duration]) {
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        let index = (times.len() as f64 * share) as usize;
        times.get(index).copied().unwrap_or_default().as_secs_f64() * 1_000.0
    };
    println!("{name:<38} {:>10.2} {:>10.2}", at(0.5), at(0.99));
}
