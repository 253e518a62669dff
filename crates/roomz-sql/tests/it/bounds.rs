//! A failing server gets a bounded number of connections, and one slow operation does not delay the others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{random_hex, sqlite_url};
use futures_util::future::join_all;
use roomz_sql::{ConnectErrorKind, SqlStore};
use roomz_tests::Server;
use roomz_tests::proxy::{Network, Proxy};
use roomz_webhook::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner, Settled, StoreError,
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const RESPONSE_TIMEOUT: Duration = Duration::from_millis(300);
const HOUR: Duration = Duration::from_secs(60 * 60);
const CONNECTIONS: u32 = 4;

/// Tests whose stores have short timeouts, or that load the machine, run one after the other.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn new_key() -> ClaimKey {
    ClaimKey::new("bounds".into(), random_hex().parse().unwrap())
}

async fn claim(store: &SqlStore, key: &ClaimKey, owner: Owner) -> Result<ClaimState, StoreError> {
    let request = ClaimRequest::new(owner, Fingerprint::of(b"body"), HOUR, HOUR);
    store.claim(key, &request).await.map(|claim| claim.state)
}

async fn claim_new(store: &SqlStore) -> Result<ClaimState, StoreError> {
    claim(store, &new_key(), Owner::random()).await
}

/// Claims new events in several tasks until all of the store's connections are open.
async fn open_all_connections(store: &SqlStore, admin: &mut PgConnection, connections: u32) {
    // A connection is open when the store has sent its first query.
    const READY: &str = "SELECT count(*) FROM pg_stat_activity \
                         WHERE application_name = 'roomz' AND state = 'idle' AND query <> ''";
    let start = Instant::now();
    // The connection that `connect` used closes first.
    while count(admin, BACKENDS).await > 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "`connect` left a connection open");
    }
    while count(admin, READY).await < i64::from(connections) {
        assert!(start.elapsed() < Duration::from_secs(20), "the store does not open its connections");
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { claim_new(&store).await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}

const BACKENDS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'roomz'";

async fn count(admin: &mut PgConnection, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(admin).await.unwrap()
}

/// Forwards connections to the server until it sent this number of packets. Then nothing arrives any more.
async fn falls_silent_after(replies: usize, server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let sent = Arc::clone(&sent);
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let mut buffer = vec![0; 65_536];
                while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
                    if sent.fetch_add(1, Ordering::Relaxed) >= replies {
                        std::future::pending::<()>().await;
                    }
                    let _ = to_client.write_all(buffer.get(..length).unwrap()).await;
                }
            });
        }
    });
    address
}

/// The test fails by not ending.
#[tokio::test]
async fn connect_ends_wherever_server_falls_silent() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    SqlStore::connect(server.postgres_url()).await.unwrap();
    let results = join_all((0..60).map(async |replies| {
        let address = falls_silent_after(replies, server.address()).await;
        let builder = SqlStore::builder(format!("postgres://postgres@{address}/postgres"));
        builder.with_connect_timeout(Duration::from_secs(2)).connect().await
    }))
    .await;
    let errors: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(errors.len() > 10 && errors.len() < 60, "{} of 60 attempts failed", errors.len());
    for error in errors {
        assert_eq!(error.kind(), ConnectErrorKind::Unreachable, "{error:?}");
    }
}

/// The server cannot cancel a commit that waits for a standby.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_commits_leave_bounded_backends() {
    let _guard = ONE_AT_A_TIME.lock().await;
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let url = server.postgres_url();
    let builder = SqlStore::builder(url.as_str()).with_max_connections(CONNECTIONS).with_purge_interval(None);
    let store = builder.with_response_timeout(RESPONSE_TIMEOUT).connect().await.unwrap();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    open_all_connections(&store, &mut admin, CONNECTIONS).await;
    server.alter_system("SET synchronous_standby_names = 'missing'").await;
    let start = Instant::now();
    let mut most = 0;
    while start.elapsed() < RESPONSE_TIMEOUT * 10 {
        let claims = join_all((0..20).map(|_| claim_new(&store))).await;
        most = most.max(count(&mut admin, BACKENDS).await);
        if start.elapsed() > RESPONSE_TIMEOUT * 2 {
            assert!(claims.iter().all(Result::is_err));
        }
    }
    // One more, which asks the server about the others.
    assert!(most <= i64::from(CONNECTIONS) + 1, "{most} backends");
    assert!(most >= i64::from(CONNECTIONS), "{most} backends: the commits did not hang");
    server.alter_system("RESET synchronous_standby_names").await;
    wait_until_recovered(&store).await;
}

async fn wait_until_recovered(store: &SqlStore) {
    let start = Instant::now();
    while claim_new(store).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "the store did not recover within 10 s");
    }
}

/// As after a failover: the address leads to a server that accepts no writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only_server_gets_few_sessions() {
    let _guard = ONE_AT_A_TIME.lock().await;
    const SESSIONS: &str = "SELECT sessions FROM pg_stat_database WHERE datname = 'postgres'";
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let url = server.postgres_url();
    let store = SqlStore::builder(url.as_str())
        .with_max_connections(CONNECTIONS)
        .with_purge_interval(None)
        .connect()
        .await
        .unwrap();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    open_all_connections(&store, &mut admin, CONNECTIONS).await;
    server.alter_system("SET default_transaction_read_only = on").await;
    while claim_new(&store).await.is_ok() {}
    let before = count(&mut admin, SESSIONS).await;
    let (start, failed) = (Instant::now(), AtomicUsize::new(0));
    join_all((0..10).map(async |_| {
        while start.elapsed() < Duration::from_secs(3) {
            claim_new(&store).await.unwrap_err();
            failed.fetch_add(1, Ordering::Relaxed);
        }
    }))
    .await;
    // The pauses between two attempts are 50, 100, 200 … 1 000 ms.
    let sessions = count(&mut admin, SESSIONS).await - before;
    assert!(sessions <= 20, "{sessions} sessions for {failed:?} failed claims");
    server.alter_system("RESET default_transaction_read_only").await;
    wait_until_recovered(&store).await;
}

/// A firewall dropped the state of all idle connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_timeout_replaces_all_connections() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let proxy = Proxy::start(server.address()).await;
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    let builder = SqlStore::builder(url).with_max_connections(CONNECTIONS).with_purge_interval(None);
    let store = builder.with_response_timeout(Duration::from_secs(3)).connect().await.unwrap();
    let mut admin = PgConnection::connect(&server.postgres_url()).await.unwrap();
    open_all_connections(&store, &mut admin, CONNECTIONS).await;
    proxy.set(Network::Blackholes);
    assert!(claim_new(&store).await.is_err());
    proxy.set(Network::Forwards);
    for _ in 0..20 {
        claim_new(&store).await.unwrap();
    }
}

#[tokio::test]
async fn locked_row_does_not_delay_other_events() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let url = server.postgres_url();
    let store = SqlStore::builder(url.as_str()).with_max_connections(1).connect().await.unwrap();
    let owner = Owner::random();
    let keys: Vec<_> = (0..20).map(|_| new_key()).collect();
    for key in &keys {
        claim(&store, key, owner).await.unwrap();
    }
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut transaction = other.begin().await.unwrap();
    let lock = "SELECT * FROM roomz_claims WHERE event_id = $1 FOR UPDATE";
    let (locked, others) = keys.split_first().unwrap();
    sqlx::query(lock)
        .bind(locked.id().as_uuid().as_bytes().as_slice())
        .execute(&mut *transaction)
        .await
        .unwrap();
    let completions = join_all(others.iter().map(|key| store.complete(key, owner, HOUR)));
    let (settled_locked, ()) = tokio::join!(store.complete(locked, owner, HOUR), async {
        for settled in completions.await {
            assert_eq!(settled.unwrap(), Settled::Applied);
        }
        transaction.rollback().await.unwrap();
    });
    assert_eq!(settled_locked.unwrap(), Settled::Applied);
}

/// The callers wait for one statement. Some of them give up before it ends.
#[tokio::test]
async fn caller_that_gives_up_does_not_cancel_batch() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let url = server.postgres_url();
    let store = SqlStore::builder(url.as_str()).with_max_connections(1).connect().await.unwrap();
    claim_new(&store).await.unwrap();
    for _ in 0..50 {
        let mut claims: Vec<_> = (0..40).map(|_| Box::pin(claim_new(&store))).collect();
        // The first poll puts the claims into the queue; the worker then takes them.
        for claim in &mut claims {
            assert!(futures_util::poll!(claim).is_pending());
        }
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let kept = claims.split_off(20);
        drop(claims);
        for claimed in join_all(kept).await {
            assert_eq!(claimed.unwrap(), ClaimState::claimed(1));
        }
    }
}

/// The server permits one connection. The worker that has it serves all operations.
#[tokio::test]
async fn worker_without_connection_wakes_the_other() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let mut admin = PgConnection::connect(&server.postgres_url()).await.unwrap();
    SqlStore::connect(server.postgres_url()).await.unwrap();
    admin
        .execute("CREATE ROLE one LOGIN CONNECTION LIMIT 1; GRANT ALL ON ALL TABLES IN SCHEMA public TO one")
        .await
        .unwrap();
    let url = server.postgres_url().replace("postgres@", "one@");
    let store = SqlStore::connect(url).await.unwrap();
    // The server may not have closed the connection yet that `connect` used.
    wait_until_recovered(&store).await;
    for _ in 0..4 {
        claim_new(&store).await.unwrap();
        // The other worker stops trying to connect, and waits for operations again.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }
}

/// One operation makes its batch fail. The others of the batch succeed.
#[tokio::test]
async fn unreadable_row_fails_alone() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let url = server.postgres_url();
    let store = SqlStore::builder(url.as_str()).with_max_connections(1).connect().await.unwrap();
    let unreadable = new_key();
    claim(&store, &unreadable, Owner::random()).await.unwrap();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    // As if a newer version had written it.
    admin.execute("UPDATE roomz_claims SET state = 3").await.unwrap();
    let keys: Vec<_> = std::iter::once(unreadable).chain((0..20).map(|_| new_key())).collect();
    let claims = join_all(keys.iter().map(|key| claim(&store, key, Owner::random()))).await;
    let (unreadable, others) = claims.split_first().unwrap();
    assert!(unreadable.is_err());
    for claimed in others {
        assert_eq!(*claimed.as_ref().unwrap(), ClaimState::claimed(1));
    }
}

/// Also if they must not be sent again after a failure whose outcome is unknown.
#[tokio::test]
async fn rejected_operation_fails_alone() {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite_url(&directory);
    let store = SqlStore::builder(url.as_str()).with_purge_interval(None).connect().await.unwrap();
    let (owner, keys) = (Owner::random(), [(); 20].map(|()| new_key()));
    for key in &keys {
        claim(&store, key, owner).await.unwrap();
    }
    let (rejected, others) = keys.split_first().unwrap();
    let trigger = format!(
        "CREATE TRIGGER reject BEFORE UPDATE ON roomz_claims WHEN NEW.event_id = x'{}' \
         BEGIN SELECT RAISE(ABORT, 'rejected by the trigger'); END",
        rejected.id().as_uuid().simple()
    );
    let mut admin = SqliteConnection::connect(&url).await.unwrap();
    admin.execute(AssertSqlSafe(trigger)).await.unwrap();
    let releases = join_all(others.iter().map(|key| store.release(key, owner)));
    let (error, released) = tokio::join!(store.release(rejected, owner), releases);
    let error = error.unwrap_err();
    assert!(format!("{error:?}").contains("rejected by the trigger"), "{error:?}");
    assert!(released.iter().all(|settled| *settled.as_ref().unwrap() == Settled::Applied), "{released:?}");
}

/// The locked rows keep one connection busy, and not the other one.
#[tokio::test]
async fn many_locked_rows_leave_the_others_free() {
    const WAITING: &str = "SELECT count(*) FROM pg_stat_activity \
                           WHERE application_name = 'roomz' AND wait_event_type = 'Lock'";
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let url = server.postgres_url();
    let builder = SqlStore::builder(url.as_str()).with_max_connections(2).with_purge_interval(None);
    let store = builder.with_response_timeout(HOUR).connect().await.unwrap();
    let owner = Owner::random();
    let keys: Vec<_> = (0..20).map(|_| new_key()).collect();
    for key in &keys {
        claim(&store, key, owner).await.unwrap();
    }
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let mut transaction = other.begin().await.unwrap();
    transaction.execute("SELECT * FROM roomz_claims FOR UPDATE").await.unwrap();
    let complete = |key: ClaimKey| {
        let store = store.clone();
        tokio::spawn(async move { store.complete(&key, owner, HOUR).await })
    };
    let locked: Vec<_> = keys.into_iter().map(complete).collect();
    // At first, both connections find out which rows are locked. The test fails by not ending.
    let (mut claimed, mut waited) = (0, false);
    while claimed < 100 || !waited {
        claim_new(&store).await.unwrap();
        match count(&mut admin, WAITING).await {
            2.. => (claimed, waited) = (0, false),
            waiting => (claimed, waited) = (claimed + 1, waited || waiting == 1),
        }
    }
    transaction.rollback().await.unwrap();
    for completion in locked {
        assert_eq!(completion.await.unwrap().unwrap(), Settled::Applied);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purge_runs_under_load() {
    let _guard = ONE_AT_A_TIME.lock().await;
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let builder = SqlStore::builder(server.postgres_url()).with_purge_interval(None);
    let store = builder.connect().await.unwrap();
    let load: Vec<_> = (0..300)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                loop {
                    claim_new(&store).await.unwrap();
                }
            })
        })
        .collect();
    for _ in 0..5 {
        store.purge().await.unwrap();
    }
    load.iter().for_each(tokio::task::JoinHandle::abort);
}

#[test]
fn operations_fail_when_runtime_ended() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let first = runtime();
    let store = first.block_on(SqlStore::connect(sqlite_url(&directory))).unwrap();
    drop(first);
    let error = runtime().block_on(claim_new(&store)).unwrap_err();
    assert!(format!("{error:?}").contains("runtime of the store was shut down"), "{error:?}");
}
