//! The store with a server that restarts, hangs, or becomes read-only. The workspace's `tests` cover the
//! whole receiver.

use std::time::{Duration, Instant};

use crate::support::{random_hex, sqlite_url};
use roomz_sql::SqlStore;
use roomz_tests::Server;
use roomz_tests::proxy::{Network, Proxy};
use roomz_webhook::store::{
    ClaimKey, ClaimRequest, Fingerprint, IdempotencyStore as _, Owner, Settled, StoreError, StoreErrorKind,
};
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};

const RESPONSE_TIMEOUT: Duration = Duration::from_millis(300);
const HOUR: Duration = Duration::from_secs(60 * 60);

async fn claim(store: &SqlStore) {
    try_claim(store).await.unwrap();
}

async fn try_claim(store: &SqlStore) -> Result<(), StoreError> {
    let key = ClaimKey::new("faults".into(), random_hex().parse().unwrap());
    let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b"body"), HOUR, HOUR);
    store.claim(&key, &request).await.map(drop)
}

/// Claims until a claim succeeds: the store needs some time to replace silent connections.
async fn wait_until_recovered(store: &SqlStore) {
    let start = Instant::now();
    while try_claim(store).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "the store did not recover within 10 s");
    }
}

/// Claims until both connections are open. A connection attempt that is under way when the server is killed
/// would fail the operations that wait.
async fn open_both_connections(store: &SqlStore, url: &str) {
    let mut admin = PgConnection::connect(url).await.unwrap();
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'roomz' AND state = 'idle' AND query <> ''";
    let start = Instant::now();
    while sqlx::query_scalar::<_, i64>(open).fetch_one(&mut admin).await.unwrap() < 2 {
        assert!(start.elapsed() < Duration::from_secs(20), "the store does not open its connections");
        tokio::join!(claim(store), claim(store), claim(store), claim(store));
    }
    // The store has read the replies.
    for _ in 0..10 {
        claim(store).await;
    }
    admin.close().await.unwrap();
}

#[tokio::test]
async fn replaces_connections_after_restart() {
    let Some(mut server) = Server::postgres_or_skip(&[]) else { return };
    let store = SqlStore::connect(server.postgres_url()).await.unwrap();
    open_both_connections(&store, &server.postgres_url()).await;
    server.kill();
    server.restart();
    for _ in 0..8 {
        claim(&store).await;
    }
}

/// Operations do not wait for their timeout while the server refuses connections.
#[tokio::test]
async fn refused_connection_fails_operations() {
    let Some(mut server) = Server::postgres_or_skip(&[]) else { return };
    let builder = SqlStore::builder(server.postgres_url()).with_purge_interval(None);
    let store = builder.with_response_timeout(Duration::from_secs(60)).connect().await.unwrap();
    server.kill();
    for _ in 0..3 {
        assert_eq!(try_claim(&store).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
}

/// It is sent twice at most.
#[tokio::test]
async fn operation_that_breaks_connections_fails() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let builder = SqlStore::builder(server.postgres_url()).with_purge_interval(None);
    let store = builder.with_response_timeout(Duration::from_secs(20)).connect().await.unwrap();
    let mut admin = PgConnection::connect(&server.postgres_url()).await.unwrap();
    let trigger = "CREATE SEQUENCE runs; \
                   CREATE FUNCTION end_session() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN \
                   PERFORM nextval(''runs''), pg_terminate_backend(pg_backend_pid()); RETURN NEW; END'; \
                   CREATE TRIGGER end_session BEFORE INSERT ON roomz_claims \
                   FOR EACH ROW EXECUTE FUNCTION end_session()";
    admin.execute(trigger).await.unwrap();
    assert_eq!(try_claim(&store).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    let runs = "SELECT last_value FROM runs";
    assert!(sqlx::query_scalar::<_, i64>(runs).fetch_one(&mut admin).await.unwrap() <= 2);
    admin.execute("DROP TRIGGER end_session ON roomz_claims").await.unwrap();
    wait_until_recovered(&store).await;
}

#[tokio::test]
async fn connections_close_with_last_clone() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let store = SqlStore::connect(server.postgres_url()).await.unwrap();
    let clone = store.clone();
    drop(store);
    claim(&clone).await;
    drop(clone);
    let mut admin = PgConnection::connect(&server.postgres_url()).await.unwrap();
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'roomz'";
    let start = Instant::now();
    while sqlx::query_scalar::<_, i64>(open).fetch_one(&mut admin).await.unwrap() > 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "the dropped store keeps its connections");
    }
}

/// A claim's future is dropped at each possible point, on a thread without a runtime. The pool spawns a task
/// to close the connection.
#[test]
fn claim_may_be_dropped_outside_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let server = Server::postgres_or_skip(&[]);
    let urls = [Some(sqlite_url(&directory)), server.as_ref().map(Server::postgres_url)];
    for url in urls.into_iter().flatten() {
        let store = runtime.block_on(SqlStore::connect(url)).unwrap();
        for polls in 0..40 {
            let mut claiming = Box::pin(claim(&store));
            runtime.block_on(async {
                for _ in 0..polls {
                    if futures_util::poll!(&mut claiming).is_ready() {
                        claiming = Box::pin(claim(&store));
                    }
                    tokio::task::yield_now().await;
                }
            });
            drop(claiming);
        }
        runtime.block_on(wait_until_recovered(&store));
    }
}

#[tokio::test]
async fn statement_that_waits_for_lock_ends() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let url = server.postgres_url();
    let store =
        SqlStore::builder(url.as_str()).with_response_timeout(RESPONSE_TIMEOUT).connect().await.unwrap();
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut transaction = other.begin().await.unwrap();
    transaction.execute("LOCK TABLE roomz_claims").await.unwrap();
    assert_eq!(store.purge().await.unwrap_err().kind(), StoreErrorKind::TimedOut);
    transaction.rollback().await.unwrap();
    assert_eq!(store.purge().await.unwrap(), 0);
}

#[tokio::test]
async fn purge_on_silent_connection_ends() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let proxy = Proxy::start(server.address()).await;
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    let builder = SqlStore::builder(url).with_max_connections(1).with_response_timeout(RESPONSE_TIMEOUT);
    let store = builder.connect().await.unwrap();
    proxy.set(Network::Blackholes);
    assert!(store.purge().await.is_err());
    proxy.set(Network::Forwards);
    wait_until_recovered(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_network_leaks_no_connection() {
    const CONNECTIONS: u32 = 4;
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let proxy = Proxy::start(server.address()).await;
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    let builder = SqlStore::builder(url).with_max_connections(CONNECTIONS);
    let store = builder.with_response_timeout(RESPONSE_TIMEOUT).connect().await.unwrap();
    for _ in 0..6 {
        let callers: Vec<_> = (0..CONNECTIONS * 3)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move {
                    for _ in 0..50 {
                        let _ = try_claim(&store).await;
                    }
                })
            })
            .collect();
        tokio::time::sleep(RESPONSE_TIMEOUT / 6).await;
        proxy.set(Network::Blackholes);
        tokio::time::sleep(RESPONSE_TIMEOUT / 3).await;
        proxy.set(Network::Forwards);
        for caller in callers {
            caller.await.unwrap();
        }
    }
    wait_until_recovered(&store).await;
    // The pool can still hand out all connections at once.
    let claim_with_all =
        async || tokio::join!(try_claim(&store), try_claim(&store), try_claim(&store), try_claim(&store));
    let start = Instant::now();
    while !matches!(claim_with_all().await, (Ok(()), Ok(()), Ok(()), Ok(()))) {
        assert!(start.elapsed() < Duration::from_secs(10), "the pool lost connections");
    }
}

#[tokio::test]
async fn replaces_read_only_connections() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let store = SqlStore::connect(server.postgres_url()).await.unwrap();
    let mut admin = PgConnection::connect(&server.postgres_url()).await.unwrap();
    // Like a failover: connections that are opened now are read-only, later ones are not.
    admin.execute("ALTER DATABASE postgres SET default_transaction_read_only = on").await.unwrap();
    let end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    admin.execute(end_all).await.unwrap();
    assert!(try_claim(&store).await.is_err());
    admin.execute("SET default_transaction_read_only = off; ALTER DATABASE postgres RESET default_transaction_read_only").await.unwrap();
    for _ in 0..20 {
        claim(&store).await;
    }
}

#[tokio::test]
async fn closed_idle_connections_cost_no_claim() {
    let Some(server) = Server::postgres_or_skip(&["idle_session_timeout=200"]) else { return };
    let store = SqlStore::connect(server.postgres_url()).await.unwrap();
    tokio::join!(claim(&store), claim(&store), claim(&store), claim(&store));
    // Real time, because the server's clock cannot be moved.
    tokio::time::sleep(Duration::from_millis(600)).await;
    for _ in 0..8 {
        claim(&store).await;
    }
}

/// A renewal and a completion are sent again. A release is not: if the server had executed it, the second one
/// would report that nobody holds the claim.
#[tokio::test]
async fn only_release_fails_with_its_connection() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let builder = SqlStore::builder(server.postgres_url()).with_max_connections(1).with_purge_interval(None);
    let store = builder.connect().await.unwrap();
    let mut admin = PgConnection::connect(&server.postgres_url()).await.unwrap();
    let mut close_connection = async || {
        const END: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                           WHERE application_name = 'roomz'";
        while sqlx::query_scalar::<_, i64>(END).fetch_one(&mut admin).await.unwrap() > 0 {}
    };
    let owner = Owner::random();
    let claim = async || {
        let key = ClaimKey::new("faults".into(), random_hex().parse().unwrap());
        let request = ClaimRequest::new(owner, Fingerprint::of(b"body"), HOUR, HOUR);
        let _ = store.claim(&key, &request).await.unwrap();
        key
    };
    let (completed, released) = (claim().await, claim().await);
    close_connection().await;
    assert_eq!(store.renew(&completed, owner, HOUR).await.unwrap(), Settled::Applied);
    close_connection().await;
    assert_eq!(store.complete(&completed, owner, HOUR).await.unwrap(), Settled::Applied);
    close_connection().await;
    assert_eq!(store.release(&released, owner).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(store.release(&released, owner).await.unwrap(), Settled::Applied);
}

#[tokio::test]
async fn unknown_state_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite_url(&directory);
    let store = SqlStore::connect(url.as_str()).await.unwrap();
    let id = "e6ae112e-2af3-4d72-894b-03435d7afde4".parse().unwrap();
    let key = ClaimKey::new("faults".into(), id);
    let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b"body"), HOUR, HOUR);
    let _ = store.claim(&key, &request).await.unwrap();
    let mut newer_version = SqliteConnection::connect(&url).await.unwrap();
    newer_version.execute("UPDATE roomz_claims SET state = 3").await.unwrap();
    let error = store.claim(&key, &request).await.unwrap_err();
    assert!(format!("{error:?}").contains("newer version"), "{error:?}");
}

/// Its lease has not ended for the statement that takes it over, and has ended for the one that reads it.
#[tokio::test]
async fn contradictory_row_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite_url(&directory);
    let store = SqlStore::connect(url.as_str()).await.unwrap();
    let key = ClaimKey::new("faults".into(), "e6ae112e-2af3-4d72-894b-03435d7afde4".parse().unwrap());
    let request = || ClaimRequest::new(Owner::random(), Fingerprint::of(b"body"), HOUR, HOUR);
    let _ = store.claim(&key, &request()).await.unwrap();
    let mut other_program = SqliteConnection::connect(&url).await.unwrap();
    other_program.execute("UPDATE roomz_claims SET lease_end = 'soon'").await.unwrap();
    let request = request();
    let claim = tokio::time::timeout(Duration::from_secs(60), store.claim(&key, &request));
    let error = claim.await.expect("the claim ends").unwrap_err();
    assert!(format!("{error:?}").contains("contradicts itself"), "{error:?}");
}
