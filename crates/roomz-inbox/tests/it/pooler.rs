//! The inbox behind PgBouncer, which can execute the transactions of one client in several sessions of the
//! server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{deliver_to, receiver};
use roomz_inbox::{BoxError, Inbox, InboxState, Job};
use roomz_tests::Server;
use roomz_webhook::testing::TestEvent;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tower::service_fn;

const EVENTS: usize = 100;

/// A named prepared statement would stay in a session of the server, and the next client of that session
/// would fail.
async fn handles_events_through_pgbouncer(pool_mode: &str) {
    let Some(postgres) = Server::postgres_or_skip(&[]) else { return };
    let Some(pooler) = Server::pgbouncer_or_skip(&postgres, pool_mode) else { return };
    let mut connection = PgConnection::connect(&postgres.postgres_url()).await.unwrap();
    sqlx::raw_sql("CREATE TABLE effects (event_id TEXT)").execute(&mut connection).await.unwrap();

    let inbox = Inbox::connect(format!("postgres://postgres@{}/postgres", pooler.address())).await.unwrap();
    let (handled, runs) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (notify, count) = (Arc::clone(&handled), Arc::clone(&runs));
    let handler = service_fn(move |mut job: Job| {
        let (notify, count) = (Arc::clone(&notify), Arc::clone(&count));
        async move {
            let insert = sqlx::query("INSERT INTO effects (event_id) VALUES ($1)").persistent(false);
            insert.bind(job.event().id.to_string()).execute(job.postgres().await?).await?;
            if count.fetch_add(1, Ordering::SeqCst) + 1 == EVENTS {
                notify.notify_one();
            }
            Ok::<_, BoxError>(())
        }
    });
    let worker = inbox.worker(handler).start();
    let mut deliveries = JoinSet::new();
    for _ in 0..EVENTS {
        let receiver = receiver(&inbox);
        deliveries.spawn(async move { deliver_to(receiver, &TestEvent::busy()).await.status() });
    }
    assert!(deliveries.join_all().await.iter().all(|status| *status == 202));
    tokio::time::timeout(Duration::from_secs(120), handled.notified()).await.unwrap();
    worker.shutdown(Duration::from_secs(30)).await;

    let done = inbox.list(InboxState::Done, 1_000).await.unwrap();
    assert_eq!(done.len(), EVENTS);
    assert!(done.iter().all(|entry| entry.attempts == 1), "an attempt failed");
    let rows: i64 = sqlx::query_scalar("SELECT count(DISTINCT event_id) FROM effects")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!((rows, runs.load(Ordering::SeqCst)), (100, EVENTS));
}

#[tokio::test(flavor = "multi_thread")]
async fn works_behind_session_pooler() {
    handles_events_through_pgbouncer("session").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn works_behind_transaction_pooler() {
    handles_events_through_pgbouncer("transaction").await;
}
