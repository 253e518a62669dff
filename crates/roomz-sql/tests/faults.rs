//! What a store itself does about a server that waits or restarts; the whole receiver's part is in the project's `tests`.

#![allow(clippy::unwrap_used)] // in helpers; a test may

use std::time::{Duration, Instant};

use roomz_sql::SqlStore;
use roomz_sql::sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};
use roomz_tests::proxy::{Network, Proxy};
use roomz_tests::{Server, postgres_url};
use roomz_webhook::store::{ClaimKey, ClaimRequest, Fingerprint, IdempotencyStore as _, Owner, StoreError};

const SHORT: Duration = Duration::from_millis(300);
const HOUR: Duration = Duration::from_secs(60 * 60);

async fn claim(store: &SqlStore) {
    try_claim(store).await.unwrap();
}

async fn try_claim(store: &SqlStore) -> Result<(), StoreError> {
    let id = format!("{:032x}", u128::from_be_bytes(Owner::random().to_bytes()));
    let key = ClaimKey::new("faults".into(), id.parse().unwrap());
    let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b"body"), HOUR, HOUR);
    store.claim(&key, &request).await.map(drop)
}

/// In the time that it takes to find out that connections are silent, and to replace them.
async fn recovers(store: &SqlStore) {
    let start = Instant::now();
    while try_claim(store).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "it does not recover");
    }
}

#[tokio::test]
async fn the_connections_that_a_restart_breaks_are_replaced_within_the_operation() {
    let Some(mut server) = Server::postgres(&[]) else { return drop(postgres_url()) };
    let store = SqlStore::connect(server.postgres_url()).await.unwrap();
    // All at once, so that there are several connections.
    tokio::join!(claim(&store), claim(&store), claim(&store), claim(&store));
    server.kill();
    server.restart();
    for _ in 0..8 {
        claim(&store).await;
    }
}

#[tokio::test]
async fn the_server_ends_what_waits_too_long_for_a_lock() {
    let Some(server) = Server::postgres(&[]) else { return drop(postgres_url()) };
    let url = server.postgres_url();
    let store = SqlStore::builder(url.as_str()).with_response_timeout(SHORT).connect().await.unwrap();
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut transaction = other.begin().await.unwrap();
    transaction.execute("LOCK TABLE roomz_claims").await.unwrap();
    let error = store.purge().await.unwrap_err();
    assert!(format!("{error:?}").contains("57014"), "cancelled by the server: {error:?}");
    transaction.rollback().await.unwrap();
    assert_eq!(store.purge().await.unwrap(), 0);
}

#[tokio::test]
async fn a_purge_on_a_connection_that_falls_silent_ends() {
    let Some(server) = Server::postgres(&[]) else { return drop(postgres_url()) };
    let proxy = Proxy::start(server.address()).await;
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    let builder = SqlStore::builder(url).with_max_connections(1).with_response_timeout(SHORT);
    let store = builder.connect().await.unwrap();
    proxy.set(Network::Forgets);
    assert!(store.purge().await.is_err());
    proxy.set(Network::Passes);
    recovers(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_is_lost_to_a_network_that_falls_silent_again_and_again() {
    const CONNECTIONS: u32 = 4;
    let Some(server) = Server::postgres(&[]) else { return drop(postgres_url()) };
    let proxy = Proxy::start(server.address()).await;
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    let builder = SqlStore::builder(url).with_max_connections(CONNECTIONS);
    let store = builder.with_response_timeout(SHORT).connect().await.unwrap();
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
        tokio::time::sleep(SHORT / 6).await;
        proxy.set(Network::Forgets);
        tokio::time::sleep(SHORT / 3).await;
        proxy.set(Network::Passes);
        for caller in callers {
            caller.await.unwrap();
        }
    }
    recovers(&store).await;
    // As many as before can be lent at once.
    let all =
        async || tokio::join!(try_claim(&store), try_claim(&store), try_claim(&store), try_claim(&store));
    let start = Instant::now();
    while !matches!(all().await, (Ok(()), Ok(()), Ok(()), Ok(()))) {
        assert!(start.elapsed() < Duration::from_secs(10), "connections are lost");
    }
}

#[tokio::test]
async fn connections_that_may_not_write_any_more_are_replaced() {
    let Some(server) = Server::postgres(&[]) else { return drop(postgres_url()) };
    let store = SqlStore::connect(server.postgres_url()).await.unwrap();
    let mut admin = PgConnection::connect(&server.postgres_url()).await.unwrap();
    // As after a fail-over: whoever connects now may not write; later they may.
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
async fn connections_that_the_server_ends_when_idle_cost_no_claim() {
    let Some(server) = Server::postgres(&["idle_session_timeout=200"]) else { return drop(postgres_url()) };
    let store = SqlStore::connect(server.postgres_url()).await.unwrap();
    tokio::join!(claim(&store), claim(&store), claim(&store), claim(&store));
    // The server's time passes by itself only.
    tokio::time::sleep(Duration::from_millis(600)).await;
    for _ in 0..8 {
        claim(&store).await;
    }
}

#[tokio::test]
async fn a_state_that_is_not_known_here_is_an_error_and_no_endless_question() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/claims.db", directory.path().display());
    let store = SqlStore::connect(url.as_str()).await.unwrap();
    let id = "e6ae112e-2af3-4d72-894b-03435d7afde4".parse().unwrap();
    let key = ClaimKey::new("faults".into(), id);
    let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b"body"), HOUR, HOUR);
    let _ = store.claim(&key, &request).await.unwrap();
    let mut newer = SqliteConnection::connect(&url).await.unwrap();
    newer.execute("UPDATE roomz_claims SET state = 3").await.unwrap();
    let error = store.claim(&key, &request).await.unwrap_err();
    assert!(format!("{error:?}").contains("newer version"), "{error:?}");
}
