//! The answers of the endpoint: new, duplicate, full, unavailable.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    TestDatabase, WAIT, deliver, deliver_new, deliver_to, deliver_until, entry, gated_worker, key, on_both,
    receiver, wait_for,
};
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http_body_util::{BodyExt as _, Full};
use roomz_inbox::{Enqueued, Inbox, InboxErrorKind, InboxState};
use roomz_tests::Server;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Delivery, WebhookBody, WebhookLayer};
use tokio::sync::Barrier;
use tower::service_fn;

on_both! {
    duplicate_gets_200
    concurrent_duplicates_have_one_202
    duplicates_in_one_batch_have_one_202
    duplicate_is_known_in_every_state
    id_is_new_after_retention
    full_inbox_gets_503_and_loses_nothing
    dead_letters_do_not_fill_the_inbox
    missing_layer_gets_500
    handler_adds_delivery_itself
    event_with_unreadable_timestamp_is_kept
    locked_database_gets_503
}

async fn duplicate_gets_200(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let same_receiver = receiver(&inbox);
    let event = TestEvent::busy();
    assert_eq!(deliver_to(same_receiver.clone(), &event).await.status(), 202);
    let answer = deliver_to(same_receiver, &event).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["roomz-webhook-skipped"]),
        (200, &"duplicate".parse().unwrap())
    );

    // A restarted receiver, and one in another process, have no claim of it.
    let other = Inbox::connect(&database.url).await.unwrap();
    for inbox in [&inbox, &other] {
        let answer = deliver_to(receiver(inbox), &event).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["roomz-webhook-skipped"], "duplicate");
    }
    assert_eq!(inbox.stats().await.unwrap().waiting, 1);
}

/// ROOMZ changes the form of its timestamps: no event is lost, and none is handled as if it were readable.
async fn event_with_unreadable_timestamp_is_kept(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let event = TestEvent::busy().with("timestamp", 1_716_279_752);
    assert_eq!(deliver(&inbox, &event).await, 202);
    let (service, calls) = crate::support::Calls::new();
    let worker = inbox.worker(service).with_max_attempts(1).with_poll_interval(crate::support::POLL).start();
    let dead = wait_for(&inbox, &event, InboxState::Dead).await;
    assert_eq!(dead.body.to_vec(), event.body());
    let error = dead.error.unwrap();
    assert!(error.contains("the field `timestamp` is not a string"), "{error}");
    assert!(calls.is_empty());
    worker.shutdown(WAIT).await;
}

/// Two receivers get the same event at the same time.
async fn concurrent_duplicates_have_one_202(database: TestDatabase) {
    let inboxes =
        [Inbox::connect(&database.url).await.unwrap(), Inbox::connect(&database.url).await.unwrap()];
    let rounds = if database.is_sqlite() { 100 } else { 300 };
    for round in 0..rounds {
        let (event, start) = (TestEvent::busy(), Arc::new(Barrier::new(4)));
        let deliveries = (0..4).map(|sender: usize| {
            let (event, start, receiver) =
                (event.clone(), Arc::clone(&start), receiver(&inboxes[sender % 2]));
            tokio::spawn(async move {
                start.wait().await;
                deliver_to(receiver, &event).await.status().as_u16()
            })
        });
        let mut answers = Vec::new();
        for delivery in deliveries.collect::<Vec<_>>() {
            answers.push(delivery.await.unwrap());
        }
        answers.sort_unstable();
        assert_eq!(answers, [200, 200, 200, 202], "round {round}");
    }
    assert_eq!(database.number("SELECT count(*) FROM roomz_inbox").await, rounds);
}

/// More deliveries than a batch has, of few events.
async fn duplicates_in_one_batch_have_one_202(database: TestDatabase) {
    const EVENTS: usize = 7;
    // A statement has each event once, so it takes as many statements as an event has deliveries.
    const DELIVERIES: usize = 140;
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let events: Vec<_> = (0..EVENTS).map(|_| TestEvent::busy()).collect();
    let mut deliveries = tokio::task::JoinSet::new();
    for delivery in 0..DELIVERIES {
        let (receiver, event) = (receiver(&inbox), events[delivery % EVENTS].clone());
        deliveries.spawn(async move { deliver_to(receiver, &event).await.status().as_u16() });
    }
    let answers = deliveries.join_all().await;
    assert_eq!(answers.iter().filter(|answer| **answer == 202).count(), EVENTS);
    assert_eq!(answers.iter().filter(|answer| **answer == 200).count(), DELIVERIES - EVENTS);
}

async fn duplicate_is_known_in_every_state(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    assert_eq!(deliver(&inbox, &event).await, 200, "waiting");
    let (service, mut calls) = crate::support::Calls::new();
    let worker = inbox.worker(service).with_max_attempts(1).with_poll_interval(crate::support::POLL).start();
    let call = calls.next().await;
    assert_eq!(deliver(&inbox, &event).await, 200, "running");
    call.fail("broken");
    wait_for(&inbox, &event, InboxState::Dead).await;
    assert_eq!(deliver(&inbox, &event).await, 200, "dead");
    assert!(inbox.retry(&key(&event)).await.unwrap());
    calls.next().await.succeed();
    wait_for(&inbox, &event, InboxState::Done).await;
    assert_eq!(deliver(&inbox, &event).await, 200, "done");
    assert_eq!(database.effects().await, [2]);
    worker.shutdown(WAIT).await;
}

async fn id_is_new_after_retention(database: TestDatabase) {
    let inbox =
        Inbox::builder(&database.url).with_retention(Duration::from_secs(60 * 60)).connect().await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let (worker, mut calls) = gated_worker(&inbox);
    calls.next().await.succeed();
    let done = wait_for(&inbox, &event, InboxState::Done).await;
    let kept = done.due.duration_since(done.received);
    assert!(
        kept >= Duration::from_secs(60 * 60).try_into().unwrap() && kept.as_secs() < 60 * 60 + 600,
        "{kept:?}"
    );
    worker.shutdown(WAIT).await;

    database.execute("UPDATE roomz_inbox SET due = 0").await;
    // The first deletion is at the start of a worker.
    let (worker, mut calls) = gated_worker(&inbox);
    deliver_until(&inbox, &event, &[202]).await;
    assert_eq!(calls.next().await.attempt, 1);
    worker.shutdown(Duration::ZERO).await;
}

async fn full_inbox_gets_503_and_loses_nothing(database: TestDatabase) {
    let inbox = Inbox::builder(&database.url).with_max_open(2).connect().await.unwrap();
    database.create_effects().await;
    let (first, second) = (deliver_new(&inbox).await, deliver_new(&inbox).await);
    // The count that finds them runs beside deliveries.
    let mut accepted = vec![first, second];
    let rejected = loop {
        let event = TestEvent::busy();
        let answer = deliver_to(receiver(&inbox), &event).await;
        if answer.status() == 503 {
            assert_eq!(answer.headers()[RETRY_AFTER], "5");
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(String::from_utf8_lossy(&body).contains("overloaded"), "{body:?}");
            break event;
        }
        accepted.push(event);
    };
    assert_eq!(deliver(&inbox, &rejected).await, 503);
    let count = i64::try_from(accepted.len()).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM roomz_inbox").await, count);
    let (worker, mut calls) = gated_worker(&inbox);
    // Events of one millisecond may run in another order.
    for _ in &accepted {
        calls.next().await.succeed();
    }
    for event in &accepted {
        wait_for(&inbox, event, InboxState::Done).await;
    }
    // The events are counted once per second.
    deliver_until(&inbox, &rejected, &[202]).await;
    calls.next().await.succeed();
    wait_for(&inbox, &rejected, InboxState::Done).await;
    assert_eq!(database.effects().await, vec![1; accepted.len() + 1]);
    worker.shutdown(WAIT).await;
}

/// Dead letters are not open, and more than open events may be.
async fn dead_letters_do_not_fill_the_inbox(database: TestDatabase) {
    let filled = Inbox::connect(&database.url).await.unwrap();
    for _ in 0..3 {
        deliver_new(&filled).await;
    }
    database.execute("UPDATE roomz_inbox SET state = 3").await;
    // The first count is part of connecting.
    let inbox = Inbox::builder(&database.url).with_max_open(3).connect().await.unwrap();
    deliver_new(&inbox).await;
    assert_eq!(inbox.stats().await.unwrap().dead, 3);
}

/// Every count of the events ends by its timeout. The events are done meanwhile, so the inbox is not full.
#[tokio::test(flavor = "multi_thread")]
async fn failing_count_delays_no_delivery() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let inbox = Inbox::builder(&database.url).with_max_open(2).connect().await.unwrap();
    let (worker, mut calls) = gated_worker(&inbox);
    let event = deliver_new(&inbox).await;
    calls.next().await.skip();
    wait_for(&inbox, &event, InboxState::Done).await;
    worker.shutdown(WAIT).await;
    deliver_new(&inbox).await;
    // Insertions do not read a row. A count does, and `counts` says how often.
    database
        .execute(
            "CREATE SEQUENCE counts; ALTER TABLE roomz_inbox RENAME TO filled; CREATE VIEW roomz_inbox AS \
             SELECT * FROM filled WHERE pg_sleep(60 * sign(nextval('counts'))) IS NOT NULL",
        )
        .await;
    for _ in 0..20 {
        deliver_new(&inbox).await;
    }
    let counts = database.number("SELECT last_value FROM counts").await;
    assert!(counts < 10, "{counts} counts for 20 deliveries");
}

async fn missing_layer_gets_500(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let answer = deliver_to(inbox.endpoint(), &TestEvent::busy()).await;
    assert_eq!(answer.status(), 500);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("missing-layer"), "{body:?}");
    assert_eq!(database.number("SELECT count(*) FROM roomz_inbox").await, 0);
}

/// A handler that does more than the endpoint calls `enqueue`.
async fn handler_adds_delivery_itself(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let event = TestEvent::busy();
    for expected in [Enqueued::New, Enqueued::Duplicate] {
        let of_handler = inbox.clone();
        let handler = service_fn(move |request: http::Request<WebhookBody>| {
            let (inbox, delivery) = (of_handler.clone(), request.extensions().get::<Delivery>().cloned());
            async move {
                assert_eq!(inbox.enqueue(&delivery.unwrap()).await.unwrap(), expected);
                Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::new())))
            }
        });
        // A new store in memory, as after a restart.
        let layer = WebhookLayer::builder(roomz_tests::secret()).build().unwrap();
        assert_eq!(deliver_to(tower::Layer::layer(&layer, handler), &event).await.status(), 200);
    }
    let added = entry(&inbox, &event).await;
    assert_eq!((added.state, added.body.to_vec()), (InboxState::Waiting, event.body()));
}

/// Another program locks the table. The redelivery works.
async fn locked_database_gets_503(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let event = TestEvent::busy();
    macro_rules! deliver_while_locked {
        ($connection:ty, $begin:literal, $lock:literal, $read:expr) => {{
            let mut other = <$connection as sqlx::Connection>::connect(&database.url).await.unwrap();
            let mut lock = sqlx::Connection::begin_with(&mut other, $begin).await.unwrap();
            sqlx::raw_sql($lock).execute(&mut *lock).await.unwrap();
            let answer = deliver_to(receiver(&inbox), &event).await;
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()[RETRY_AFTER]),
                (503, &"5".parse().unwrap())
            );
            let read = inbox.get(&key(&event)).await;
            // A writer of SQLite does not keep others from reading.
            assert_eq!(read.err().map(|error| error.kind()), $read);
            lock.rollback().await.unwrap();
        }};
    }
    if database.is_sqlite() {
        deliver_while_locked!(sqlx::SqliteConnection, "BEGIN IMMEDIATE", "SELECT 1", None);
    } else {
        deliver_while_locked!(
            sqlx::PgConnection,
            "BEGIN",
            "LOCK TABLE roomz_inbox",
            Some(InboxErrorKind::Unavailable)
        );
    }
    // The insert that got a 503 can be durable.
    deliver_until(&inbox, &event, &[202, 200]).await;
    assert_eq!(entry(&inbox, &event).await.state, InboxState::Waiting);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_server_gets_503() {
    let Some(mut server) = Server::postgres_or_skip(&[]) else { return };
    let inbox = Inbox::connect(server.postgres_url()).await.unwrap();
    let (accepted, event) = (deliver_new(&inbox).await, TestEvent::busy());
    server.kill();
    let answer = deliver_to(receiver(&inbox), &event).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()[RETRY_AFTER]), (503, &"5".parse().unwrap()));
    server.restart();
    deliver_until(&inbox, &event, &[202]).await;
    assert_eq!(deliver(&inbox, &accepted).await, 200);
    assert_eq!(inbox.stats().await.unwrap().waiting, 2);
}

/// The deliveries that wait for a suspended server get their answer, also those behind the first batch.
#[tokio::test(flavor = "multi_thread")]
async fn suspended_server_gets_503() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let inbox = Inbox::connect(server.postgres_url()).await.unwrap();
    let accepted = deliver_new(&inbox).await;
    server.signal("STOP");
    let mut deliveries = tokio::task::JoinSet::new();
    for _ in 0..4_000 {
        let receiver = receiver(&inbox);
        deliveries.spawn(async move { deliver_to(receiver, &TestEvent::busy()).await.status().as_u16() });
    }
    let answers =
        tokio::time::timeout(WAIT, deliveries.join_all()).await.expect("deliveries without an answer");
    assert!(answers.iter().all(|answer| *answer == 503));
    server.signal("CONT");
    deliver_until(&inbox, &accepted, &[200]).await;
    deliver_until(&inbox, &TestEvent::busy(), &[202]).await;
}
