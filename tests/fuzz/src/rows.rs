//! What stores read back: rows of SQLite and strings of Redis with any content. Each call returns a value or
//! an error, and nothing is settled but by its owner.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use roomz_inbox::{BoxError, EventData, Inbox, InboxState, Job, Worker};
use roomz_protocol::testing::TestEvent;
use roomz_protocol::{Event, Uuid};
use roomz_redis::RedisStore;
use roomz_sql::{PresencePoint, PresenceTable, SqlStore, sqlite_options};
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, Owner, Settled,
};
use roomz_webhook::{Event as AnyEvent, LatestOutcome, WorkspacePresenceChanged};
use sqlx::sqlite::{SqliteConnection, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqlitePool};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::time::timeout;
use tower::service_fn;

const ID: u128 = 7;
const OURS: [u8; 16] = [0xa5; 16];
const HOUR: Duration = Duration::from_secs(3_600);

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Claims { row: [Cell<'a>; 6], call: Call },
    Presence { row: [Cell<'a>; 4], workspace: bool },
    Inbox { row: [Cell<'a>; 8], is_key_valid: bool },
    Redis { record: Record<'a>, call: Call },
}

/// A value of a column.
#[derive(Arbitrary, Debug)]
enum Cell<'a> {
    Usual,
    Ours,
    Number(i64),
    /// A time, in seconds from now.
    Time(i8),
    Real(f64),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
}

#[derive(Arbitrary, Debug)]
enum Record<'a> {
    Bytes(&'a [u8]),
    Fields {
        state: u8,
        is_ours: bool,
        attempt: u32,
        after_lease: f64,
        is_ms: Option<i8>,
        rest: &'a [u8],
        length: Option<u8>,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Call {
    Claim,
    Renew,
    Complete,
    Release,
}

impl Cell<'_> {
    fn sql(&self, usual: &str) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match self {
            Self::Usual => usual.to_owned(),
            Self::Ours => format!("x'{}'", hex(&OURS)),
            Self::Number(i64::MIN) => "(-9223372036854775807 - 1)".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Time(seconds) => format!("(unixepoch() + {seconds}) * 1000"),
            Self::Real(real) if real.is_finite() => format!("{real:?}"),
            Self::Real(_) => "9e999".to_owned(),
            // Without a check of UTF-8.
            Self::Text(text) => format!("CAST(x'{}' AS TEXT)", hex(text)),
            Self::Bytes(bytes) => format!("x'{}'", hex(bytes)),
        }
    }
}

struct Stores {
    runtime: Runtime,
    pool: SqlitePool,
    claims: SqlStore,
    inbox: Inbox,
    handled: Arc<Notify>,
    _worker: Worker,
    redis: Option<(RedisStore, redis::aio::MultiplexedConnection)>,
}

thread_local! {
    static STORES: Stores = Stores::new();
}

impl Stores {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap().keep();
        let url = format!("sqlite://{}/rows.db", directory.display());
        let handled = Arc::new(Notify::new());
        let (claims, inbox, pool, worker, redis) = runtime.block_on(async {
            let claims = SqlStore::connect(&url).await.unwrap();
            let inbox = Inbox::connect(&url).await.unwrap();
            let pool = SqlitePoolOptions::new()
                .max_connections(1)
                .connect_with(sqlite_options(&url).unwrap())
                .await
                .unwrap();
            let notify = Arc::clone(&handled);
            let worker = inbox.worker(service_fn(move |job: Job<EventData>| {
                let notify = Arc::clone(&notify);
                async move {
                    if job.event().id.as_uuid().as_u128() == ID + 1 {
                        notify.notify_one();
                    }
                    Ok::<_, BoxError>(())
                }
            }));
            (claims, inbox, pool, worker.start(), redis(&directory).await)
        });
        Self { runtime, pool, claims, inbox, handled, _worker: worker, redis }
    }

    async fn execute(&self, sql: String) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap();
    }
}

/// Starts a server that ends with this process. `None` if it is not installed.
async fn redis(directory: &Path) -> Option<(RedisStore, redis::aio::MultiplexedConnection)> {
    let socket = directory.join("redis.sock");
    let server = format!(
        "redis-server --port 0 --save '' --unixsocket {} >/dev/null & read _; kill $!",
        socket.display()
    );
    let script = format!("command -v redis-server >/dev/null || exit 1; {server}");
    let mut server = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    let url = format!("redis+unix://{}", socket.display());
    while !socket.exists() {
        if server.try_wait().unwrap().is_some() {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It ends when its standard input is closed.
    std::mem::forget(server);
    let store = RedisStore::connect(&url).await.unwrap();
    let client = redis::Client::open(url).unwrap();
    Some((store, client.get_multiplexed_async_connection().await.unwrap()))
}

pub fn run(input: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(input)) else { return };
    STORES.with(|stores| {
        let work = async {
            match &input {
                Input::Claims { row, call } => claims(stores, row, *call).await,
                Input::Presence { row, workspace } => presence(row, *workspace).await,
                Input::Inbox { row, is_key_valid } => inbox(stores, row, *is_key_valid).await,
                Input::Redis { record, call } => redis_record(stores, record, *call).await,
            }
        };
        let ended = stores.runtime.block_on(async { timeout(Duration::from_secs(20), work).await });
        assert!(ended.is_ok(), "no end: {input:?}");
    });
}

fn key(id: u128) -> ClaimKey {
    ClaimKey::new("roomz".into(), Uuid::from_u128(id).into())
}

/// The claim, if it succeeded, or whether a settlement was applied.
async fn call(store: &impl IdempotencyStore, call: Call) -> Option<(Option<Claim>, bool)> {
    let (key, owner) = (key(ID), Owner::from_bytes(OURS));
    let settled = match call {
        Call::Claim => {
            let request = ClaimRequest::new(owner, Fingerprint::of(b"{}"), HOUR, HOUR);
            let claim = store.claim(&key, &request).await.ok()?;
            return Some((Some(claim), matches!(claim.state, ClaimState::Claimed { .. })));
        }
        Call::Renew => store.renew(&key, owner, HOUR).await,
        Call::Complete => store.complete(&key, owner, HOUR).await,
        Call::Release => store.release(&key, owner).await,
    };
    Some((None, settled.ok()? == Settled::Applied))
}

async fn claims(stores: &Stores, row: &[Cell<'_>; 6], operation: Call) {
    let usual = ["0", "x'01'", "x'02'", "1", "(unixepoch() + 100) * 1000", "(unixepoch() + 100) * 1000"];
    let values: Vec<_> = row.iter().zip(usual).map(|(cell, usual)| cell.sql(usual)).collect();
    stores
        .execute(format!(
            "INSERT OR REPLACE INTO roomz_claims VALUES ('roomz', x'{ID:032x}', {})",
            values.join(",")
        ))
        .await;
    // With time for the clock, which moves on: a call ends within 20 s.
    let read = "SELECT quote(state) || quote(owner) || quote(fingerprint) || quote(attempt) || quote(lease_end) || quote(expires), \
        typeof(owner) = 'blob' AND owner = ?, state = 0, state = 2, typeof(expires) = 'integer' AND expires > (unixepoch() + 25) * 1000, \
        typeof(lease_end) = 'integer' AND lease_end > (unixepoch() + 25) * 1000 FROM roomz_claims WHERE event_id = ?";
    let read = || async {
        let query = sqlx::query(read).bind(&OURS[..]).bind(&ID.to_be_bytes()[..]);
        query.fetch_one(&stores.pool).await.unwrap()
    };
    let row = read().await;
    let [is_ours, is_running, is_done, is_kept, is_live] =
        [1, 2, 3, 4, 5].map(|column| row.get::<bool, _>(column));
    let outcome = call(&stores.claims, operation).await;
    let is_applied = outcome.is_some_and(|(_, is_applied)| is_applied);
    if operation == Call::Claim {
        let is_held = is_kept && (is_done || is_running && !is_ours && is_live);
        assert!(!(is_applied && is_held), "claimed from its owner");
    } else {
        assert!(
            !is_applied || is_ours && (is_running || is_done && operation == Call::Complete),
            "settled by another"
        );
    }
    if !is_applied && outcome.is_some() {
        assert_eq!(read().await.get::<Vec<u8>, _>(0), row.get::<Vec<u8>, _>(0), "changed, but not reported");
    }
}

async fn presence(row: &[Cell<'_>; 4], workspace: bool) {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    for script in roomz_sql::SQLITE_MIGRATIONS {
        sqlx::raw_sql(*script).execute(&mut connection).await.unwrap();
    }
    let usual = ["'Free'", "100", "1", "x'03'"];
    let values: Vec<_> = row.iter().zip(usual).map(|(cell, usual)| cell.sql(usual)).collect();
    let id = if workspace { format!("x'{ID:032x}'") } else { "x'04'".to_owned() };
    let insert = format!("INSERT INTO roomz_presence VALUES (1, 'roomz', {id}, {})", values.join(","));
    sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut connection).await.unwrap();
    let table = PresenceTable::default();
    let _ = table.changes_since(&mut connection, PresencePoint::default()).await;
    let _ = table.get(&mut connection, Uuid::from_u128(ID).into()).await;
    let body = TestEvent::busy().with_workspace_id(Uuid::from_u128(ID).into()).body();
    let event: Event<WorkspacePresenceChanged> = AnyEvent::parse(&body).unwrap().typed().unwrap();
    if table.apply(&mut connection, &event).await.is_ok_and(|outcome| outcome == LatestOutcome::Newest) {
        let kept = table.get(&mut connection, event.data.workspace_id).await.unwrap().unwrap();
        assert_eq!((kept.event_id, kept.timestamp), (event.id, event.timestamp));
    }
}

/// An event behind a row with any content is handled.
async fn inbox(stores: &Stores, row: &[Cell<'_>; 8], is_key_valid: bool) {
    let usual = ["0", "1", "1", "x'01'", "1", "0", "x'7b7d'", "'error'"];
    let values: Vec<_> = row.iter().zip(usual).map(|(cell, usual)| cell.sql(usual)).collect();
    let id = if is_key_valid { format!("x'{ID:032x}'") } else { "CAST(x'ff' AS TEXT)".to_owned() };
    let good = TestEvent::busy().with_id(Uuid::from_u128(ID + 1).into()).body();
    let good: String = good.iter().map(|byte| format!("{byte:02x}")).collect();
    stores
        .execute(format!(
            "DELETE FROM roomz_inbox; INSERT INTO roomz_inbox VALUES ('roomz', {id}, {}, NULL)",
            values.join(",")
        ))
        .await;
    for state in [InboxState::Waiting, InboxState::Running, InboxState::Done, InboxState::Dead] {
        for entry in stores.inbox.list(state, 10).await.unwrap_or_default() {
            assert_eq!((entry.state, entry.key), (state, key(ID)));
        }
    }
    let (_, _) = (stores.inbox.stats().await, stores.inbox.stats_by_namespace().await);
    let _ = stores.inbox.get(&key(ID)).await;
    let insert = "INSERT INTO roomz_inbox VALUES ('roomz', x'";
    stores.execute(format!("{insert}{:032x}', 3, 2, 2, x'01', 0, 0, x'{good}', NULL, NULL)", ID + 1)).await;
    // It also wakes the worker.
    assert!(stores.inbox.retry(&key(ID + 1)).await.unwrap());
    stores.handled.notified().await;
    let _ = stores.inbox.discard(&key(ID)).await;
}

async fn redis_record(stores: &Stores, record: &Record<'_>, operation: Call) {
    let Some((store, connection)) = &stores.redis else { return };
    let mut connection = connection.clone();
    let record = match record {
        Record::Bytes(bytes) => bytes.to_vec(),
        Record::Fields { state, is_ours, attempt, after_lease, is_ms, rest, length } => {
            let mut owner = OURS;
            if !*is_ours {
                owner[15] = 1;
            }
            let after_lease =
                is_ms.map_or(*after_lease, |seconds| 3_600_000.0 + 1_000.0 * f64::from(seconds));
            let state = *b"RFDX".get(usize::from(*state)).unwrap_or(state);
            let numbers = [&attempt.to_le_bytes()[..], &after_lease.to_le_bytes()].concat();
            let mut record = [&[state][..], &owner, &[2; 16], &numbers, rest].concat();
            record.truncate(length.map_or(record.len(), usize::from));
            record
        }
    };
    let name = format!("roomz:roomz:{}", Uuid::from_u128(ID));
    let set = redis::cmd("SET").arg(&name).arg(&record).arg("EX").arg(3_600).to_owned();
    set.exec_async(&mut connection).await.unwrap();
    let outcome = call(store, operation).await;
    let is_applied = outcome.is_some_and(|(_, is_applied)| is_applied);
    let (state, is_ours) = (record.first(), record.get(1..17) == Some(&OURS));
    let after_lease = record.get(37..45).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()));
    match operation {
        Call::Claim => {
            // The key lives for an hour.
            let is_live = after_lease.is_some_and(|after| 3_575_000.0 - after > 0.0);
            let is_held = state == Some(&b'D') || state == Some(&b'R') && !is_ours && is_live;
            assert!(!(is_applied && is_held), "claimed from its owner");
        }
        Call::Renew => assert!(!is_applied || is_ours && state == Some(&b'R')),
        Call::Complete => assert!(!is_applied || is_ours && matches!(state, Some(b'R' | b'D'))),
        Call::Release => assert!(!is_applied || is_ours && matches!(state, Some(b'R' | b'F'))),
    }
    if !is_applied && outcome.is_some() {
        let kept: Vec<u8> = redis::cmd("GET").arg(&name).query_async(&mut connection).await.unwrap();
        assert_eq!(kept, record, "changed, but not reported");
    }
}
