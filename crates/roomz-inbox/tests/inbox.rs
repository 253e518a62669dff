//! The path of an event through the inbox, on both databases.

#![allow(clippy::unwrap_used, reason = "a test may panic in its helpers")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use roomz_inbox::{BoxError, Inbox, InboxState, Job, WorkspacePresenceChanged};
use roomz_webhook::testing::TestEvent;
use support::{TestDatabase, deliver};
use tokio::sync::Notify;
use tower::service_fn;

const WAIT: Duration = Duration::from_secs(30);

/// Runs a test on each database.
macro_rules! on_both {
    ($($(#[$docs:meta])* $name:ident)*) => {
        mod on_sqlite {
            $($(#[$docs])* #[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(super::TestDatabase::sqlite()).await; })*
        }
        mod on_postgres {
            $($(#[$docs])* #[tokio::test(flavor = "multi_thread")] async fn $name() {
                if let Some(database) = super::TestDatabase::postgres().await { super::$name(database).await; }
            })*
        }
    };
}

on_both! {
    event_is_handled_in_its_transaction
}

async fn event_is_handled_in_its_transaction(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.execute("CREATE TABLE effects (event_id TEXT)").await;
    let event = TestEvent::busy();
    assert_eq!(deliver(&inbox, &event).await, 202);
    assert_eq!(deliver(&inbox, &event).await, 200);
    assert_eq!(inbox.stats().await.unwrap().waiting, 1);

    let handled = Arc::new(Notify::new());
    let notify = Arc::clone(&handled);
    let worker = inbox
        .worker(service_fn(move |mut job: Job<WorkspacePresenceChanged>| {
            let notify = Arc::clone(&notify);
            async move {
                let id = job.event().id.to_string();
                let insert = "INSERT INTO effects (event_id) VALUES ($1)";
                if job.is_postgres() {
                    sqlx::query(insert).bind(id).execute(job.postgres().await?).await?;
                } else {
                    sqlx::query(insert).bind(id).execute(job.sqlite().await?).await?;
                }
                notify.notify_one();
                Ok::<_, BoxError>(())
            }
        }))
        .start();
    tokio::time::timeout(WAIT, handled.notified()).await.unwrap();
    worker.shutdown(WAIT).await;
    assert_eq!(database.number("SELECT count(*) FROM effects").await, 1);
    let done = inbox.list(InboxState::Done, 10).await.unwrap();
    assert_eq!((done.len(), done[0].attempts, done[0].body.to_vec()), (1, 1, event.body()));
    assert_eq!(deliver(&inbox, &event).await, 200);
}
