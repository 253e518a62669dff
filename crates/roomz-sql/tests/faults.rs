//! What a store itself does about a server that waits or restarts; the whole receiver's part is in the project's `tests`.

#![allow(clippy::unwrap_used)] // in helpers; a test may

use std::time::Duration;

use roomz_sql::SqlStore;
use roomz_sql::sqlx::{Connection as _, Executor as _, PgConnection};
use roomz_tests::{Server, postgres_url};
use roomz_webhook::{ClaimKey, ClaimRequest, Fingerprint, IdempotencyStore as _, Owner};

const SHORT: Duration = Duration::from_millis(300);
const HOUR: Duration = Duration::from_secs(60 * 60);

async fn claim(store: &SqlStore) {
    let id = format!("{:032x}", u128::from_be_bytes(Owner::random().to_bytes()));
    let key = ClaimKey::new("faults".into(), id.parse().unwrap());
    let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b"body"), HOUR, HOUR);
    let _ = store.claim(&key, &request).await.unwrap();
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
