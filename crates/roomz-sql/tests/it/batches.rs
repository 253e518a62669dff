//! A batch gives each caller the outcome that the same operation has alone.

use std::time::Duration;

use crate::support::{random_hex, sqlite_url};
use futures_util::future::join_all;
use roomz_sql::{Database, SqlStore};
use roomz_tests::{postgres_url_or_skip, rounds};
use roomz_webhook::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner, Settled,
};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Connection as _, PgConnection, SqliteConnection};

const HOUR: Duration = Duration::from_secs(60 * 60);
const EXPIRED: Duration = Duration::from_millis(1);
const KEYS: usize = 40;
const NAMESPACES: [&str; 2] = ["one", "other \"\\\n\u{1f}é😀"];

/// An operation. The numbers choose the owner and the body.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Claim { owner: usize, body: u8, lease: Duration, retention: Duration },
    Renew { owner: usize, lease: Duration },
    Complete { owner: usize, retention: Duration },
    Release { owner: usize },
}

fn any_operation(state: &mut u64) -> Operation {
    let mut below = |limit: u64| {
        // A linear congruential generator: the same operations in each run.
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % limit
    };
    let owner = usize::try_from(below(3)).unwrap();
    let mut duration = || if below(3) == 0 { EXPIRED } else { HOUR };
    let (one, other) = (duration(), duration());
    match below(5) {
        0 | 1 => {
            Operation::Claim { owner, body: u8::try_from(below(2)).unwrap(), lease: one, retention: other }
        }
        2 => Operation::Renew { owner, lease: one },
        3 => Operation::Complete { owner, retention: other },
        _ => Operation::Release { owner },
    }
}

/// Executes the operation, and returns its outcome as text. The remaining lease differs from run to run.
async fn run(store: &SqlStore, key: &ClaimKey, owners: &[Owner], operation: Operation) -> String {
    match operation {
        Operation::Claim { owner, body, lease, retention } => {
            let request = ClaimRequest::new(owners[owner], Fingerprint::of(&[body]), lease, retention);
            let claim = store.claim(key, &request).await.unwrap();
            match claim.state {
                ClaimState::InFlight { remaining, .. } => {
                    format!("in flight {} {}", remaining > HOUR / 2, claim.fingerprint_matches)
                }
                state => format!("{state:?} {}", claim.fingerprint_matches),
            }
        }
        Operation::Renew { owner, lease } => {
            format!("{:?}", store.renew(key, owners[owner], lease).await.unwrap())
        }
        Operation::Complete { owner, retention } => {
            format!("{:?}", store.complete(key, owners[owner], retention).await.unwrap())
        }
        Operation::Release { owner } => format!("{:?}", store.release(key, owners[owner]).await.unwrap()),
    }
}

/// The rule of a claim, as the contract describes it. In a round, each key has one operation; a time of an
/// hour never passes, and one of a millisecond has passed in the next round.
#[derive(Debug, Default)]
struct Model(Option<Record>);

#[derive(Debug)]
struct Record {
    state: &'static str,
    owner: usize,
    body: u8,
    attempt: u32,
    has_lease: bool,
    is_kept: bool,
}

impl Model {
    fn run(&mut self, operation: Operation) -> String {
        let record = self.0.take().filter(|record| record.is_kept);
        let (record, outcome) = match (operation, record) {
            (Operation::Claim { owner, body, lease, retention }, record) => {
                let is_same = record.as_ref().is_none_or(|record| record.body == body);
                match record {
                    Some(record) if record.state == "done" => (Some(record), format!("Done {is_same}")),
                    Some(record)
                        if record.state == "running" && record.owner != owner && record.has_lease =>
                    {
                        (Some(record), format!("in flight true {is_same}"))
                    }
                    record => {
                        let attempt = record.as_ref().map_or(1, |record| {
                            record.attempt + u32::from(record.state == "free" || record.owner != owner)
                        });
                        let (body, has_lease) = (record.map_or(body, |record| record.body), lease == HOUR);
                        let is_kept = has_lease || retention == HOUR;
                        let claimed = Record { state: "running", owner, body, attempt, has_lease, is_kept };
                        (Some(claimed), format!("{:?} {is_same}", ClaimState::claimed(attempt)))
                    }
                }
            }
            (Operation::Renew { owner, lease }, Some(record)) if record.is_run_by(owner) => {
                (Some(Record { has_lease: lease == HOUR, ..record }), format!("{:?}", Settled::Applied))
            }
            (Operation::Complete { owner, retention }, Some(record)) if record.is_run_by(owner) => {
                let done = Record { state: "done", is_kept: retention == HOUR, ..record };
                (Some(done), format!("{:?}", Settled::Applied))
            }
            (Operation::Complete { owner, .. }, Some(record))
                if record.state == "done" && record.owner == owner =>
            {
                (Some(record), format!("{:?}", Settled::Applied))
            }
            (Operation::Release { owner }, Some(record)) if record.is_run_by(owner) => {
                (Some(Record { state: "free", ..record }), format!("{:?}", Settled::Applied))
            }
            (_, record) => (record, format!("{:?}", Settled::Lost)),
        };
        self.0 = record;
        outcome
    }
}

impl Record {
    fn is_run_by(&self, owner: usize) -> bool {
        self.state == "running" && self.owner == owner
    }
}

/// A row: the state, the owner, the fingerprint, the attempt, the remaining lease, and the time until it
/// expires.
type Row = (i64, Vec<u8>, Vec<u8>, i64, i64, i64);

macro_rules! select_row {
    ($now:literal) => {
        concat!(
            "SELECT CAST(state AS BIGINT), owner, fingerprint, attempt, lease_end - ",
            $now,
            ", expires - ",
            $now,
            " FROM roomz_claims WHERE namespace = $1 AND event_id = $2"
        )
    };
}

macro_rules! read_row {
    ($connection:ident, $now:literal) => {
        async |key: &ClaimKey| {
            let query = sqlx::query_as::<_, Row>(select_row!($now)).bind(key.namespace().to_owned());
            let query = query.bind(key.id().as_uuid().as_bytes().to_vec());
            query.fetch_optional(&mut $connection).await.unwrap()
        }
    };
}

/// Makes rows comparable that were written at different times: 1 is a time in an hour, 0 is now. A row that
/// expires now counts as absent, because a purge may delete it.
fn round_times(row: Option<Row>) -> Option<Row> {
    let half_an_hour = i64::try_from(HOUR.as_millis() / 2).unwrap();
    let (state, owner, fingerprint, attempt, lease, retention) = row?;
    (retention > half_an_hour).then_some((
        state,
        owner,
        fingerprint,
        attempt,
        i64::from(lease > half_an_hour),
        1,
    ))
}

/// Executes the same operations one by one, and as one batch for all keys. Compares the outcomes with the
/// model, and the rows.
async fn compare(
    store: &SqlStore,
    namespaces: [&'static str; 2],
    mut read_row: impl AsyncFnMut(&ClaimKey) -> Option<Row>,
) {
    let owners: Vec<_> = (0..3).map(|_| Owner::random()).collect();
    let new_keys = || -> Vec<_> {
        // Two namespaces with the same ids.
        let ids: Vec<_> = (0..KEYS / 2).map(|_| random_hex().parse().unwrap()).collect();
        namespaces
            .into_iter()
            .flat_map(|namespace| ids.iter().map(move |id| ClaimKey::new(namespace.into(), *id)))
            .collect()
    };
    let (alone, batched) = (new_keys(), new_keys());
    let mut models: Vec<_> = (0..KEYS).map(|_| Model::default()).collect();
    let mut state = 1;
    for round in 0..rounds(30, 600) {
        let operations: Vec<_> = (0..KEYS).map(|_| any_operation(&mut state)).collect();
        let mut expected = Vec::new();
        for ((key, operation), model) in alone.iter().zip(&operations).zip(&mut models) {
            let outcome = run(store, key, &owners, *operation).await;
            assert_eq!(outcome, model.run(*operation), "round {round}: {operation:?}");
            expected.push(outcome);
        }
        let found = join_all(
            batched.iter().zip(&operations).map(|(key, operation)| run(store, key, &owners, *operation)),
        );
        let found = found.await;
        for (index, operation) in operations.iter().enumerate() {
            assert_eq!(found[index], expected[index], "round {round}, key {index}: {operation:?}");
            let rows = (read_row(&batched[index]).await, read_row(&alone[index]).await);
            let (found, expected) = (round_times(rows.0), round_times(rows.1));
            assert_eq!(found, expected, "round {round}, key {index}: {operation:?}");
        }
        // Leases and retentions of 1 ms are over in the next round.
        tokio::time::sleep(EXPIRED * 3).await;
    }
}

async fn connect(database: impl Into<Database>) -> SqlStore {
    SqlStore::builder(database).with_max_connections(1).with_purge_interval(None).connect().await.unwrap()
}

async fn compare_on_sqlite(store: &SqlStore, url: &str, namespaces: [&'static str; 2]) {
    let mut connection = SqliteConnection::connect(url).await.unwrap();
    compare(store, namespaces, read_row!(connection, "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)"))
        .await;
}

#[tokio::test]
async fn sqlite_batch_equals_single_operations() {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite_url(&directory);
    compare_on_sqlite(&connect(&url).await, &url, NAMESPACES).await;
}

#[tokio::test]
async fn sqlite_batch_works_in_utf_16_database() {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite_url(&directory);
    let options: SqliteConnectOptions = url.parse().unwrap();
    let options = options.create_if_missing(true).pragma("encoding", "'UTF-16'");
    let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
    compare_on_sqlite(&connect(pool).await, &url, NAMESPACES).await;
}

#[tokio::test]
async fn postgres_batch_equals_single_operations() {
    let Some(url) = postgres_url_or_skip() else { return };
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let read_row = read_row!(connection, "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT)");
    compare(&connect(&url).await, NAMESPACES, read_row).await;
}

/// A completion keeps the expiry that the claim set, and finds space in the page of its row: no index
/// changes.
#[tokio::test]
async fn completion_writes_no_index_entries() {
    let Some(url) = postgres_url_or_skip() else { return };
    let schema = format!("batches_{}", random_hex());
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    let store = SqlStore::connect(format!("{url}?options=-c%20search_path%3D{schema}")).await.unwrap();
    let claim_and_complete = async || {
        let key = ClaimKey::new("roomz".into(), random_hex().parse().unwrap());
        let owner = Owner::random();
        let request = ClaimRequest::new(owner, Fingerprint::of(b""), HOUR, HOUR * 24);
        let claim = store.claim(&key, &request).await.unwrap();
        assert_eq!(claim.state, ClaimState::claimed(1));
        assert_eq!(store.complete(&key, owner, HOUR * 24).await.unwrap(), Settled::Applied);
    };
    join_all((0..1_000).map(|_| claim_and_complete())).await;
    for _ in 0..50 {
        claim_and_complete().await;
    }
    let counts = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables \
                  WHERE schemaname = $1 AND relname = 'roomz_claims'";
    // A connection reports its numbers to the statistics with a delay.
    let (updated, without_index): (i64, i64) = loop {
        let counts = sqlx::query_as(counts).bind(&schema).fetch_one(&mut connection).await.unwrap();
        if let (1_050.., _) = counts {
            break counts;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(without_index * 100 > updated * 95, "{without_index} of {updated}");
}

/// A claim with a long retention, whose completion sets a short one.
#[tokio::test]
async fn completion_sets_a_shorter_retention() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqlStore::connect(sqlite_url(&directory)).await.unwrap();
    let key = ClaimKey::new("batches".into(), random_hex().parse().unwrap());
    let owner = Owner::random();
    let lease = Duration::from_millis(100);
    let request = ClaimRequest::new(owner, Fingerprint::of(b"body"), lease, HOUR / 60);
    let claim = async || store.claim(&key, &request).await.unwrap().state;
    assert_eq!(claim().await, ClaimState::claimed(1));
    let retention = Duration::from_millis(500);
    assert_eq!(store.complete(&key, owner, retention).await.unwrap(), Settled::Applied);
    assert_eq!(claim().await, ClaimState::Done);
    tokio::time::sleep(retention).await;
    assert_eq!(claim().await, ClaimState::claimed(1));
}
