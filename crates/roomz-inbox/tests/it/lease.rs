//! Leases, on both databases.

use std::collections::HashSet;
use std::time::Duration;

use crate::support::{TestDatabase, deliver};
use roomz_inbox::{BoxError, Inbox, InboxState, Job};
use roomz_webhook::testing::TestEvent;
use tokio::sync::mpsc;
use tower::service_fn;

const EVENTS: usize = 10;
const LEASE: Duration = Duration::from_secs(60 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn leases_end_apart_on_sqlite() {
    leases_of_one_batch_end_apart(TestDatabase::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_end_apart_on_postgres() {
    if let Some(database) = TestDatabase::postgres().await {
        leases_of_one_batch_end_apart(database).await;
    }
}

/// Otherwise the events that ran with one that ends its process would run with it again each time, until all
/// of them are dead letters.
async fn leases_of_one_batch_end_apart(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    for _ in 0..EVENTS {
        assert_eq!(deliver(&inbox, &TestEvent::busy()).await, 202);
    }
    let (started, mut starts) = mpsc::unbounded_channel();
    let worker = inbox
        .worker(service_fn(move |_: Job| {
            let started = started.clone();
            async move {
                started.send(()).unwrap();
                std::future::pending::<Result<(), BoxError>>().await
            }
        }))
        .with_concurrency(EVENTS)
        .with_lease(LEASE)
        .start();
    for _ in 0..EVENTS {
        starts.recv().await.unwrap();
    }
    let ends: Vec<_> =
        inbox.list(InboxState::Running, 100).await.unwrap().iter().map(|entry| entry.due).collect();
    assert_eq!(ends.len(), EVENTS);
    assert!(ends.iter().collect::<HashSet<_>>().len() > EVENTS / 2, "{ends:?}");
    let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
    assert!(last.as_millisecond() - first.as_millisecond() < LEASE.as_millis() as i64 / 2, "{ends:?}");
    drop(worker);
}
