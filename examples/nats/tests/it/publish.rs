//! Which events the stream stores, and what ROOMZ is answered, while the server runs, dies and comes back.

use std::collections::HashSet;
use std::mem::take;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{
    Answer, cluster, deliver, deliver_until_accepted, eventually, id, new_receiver, server_and_broker,
    stored_ids, stored_in,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use nats::broker::{Broker, STREAM};
use roomz_axum::testing::TestEvent;
use roomz_tests::Server;
use tokio::task::JoinSet;

#[tokio::test]
async fn stores_verified_event() {
    let Some((_server, broker)) = server_and_broker().await else { return };
    let event = TestEvent::busy();
    let receiver = new_receiver(&broker);
    assert_eq!(deliver(&receiver, &event).await, Answer { status: 202, retry_after: None });
    assert_eq!(deliver(&receiver, &event).await.status, 200, "a duplicate, found by the layer");

    let stored = stored_in(&broker, STREAM).await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].subject, format!("roomz.events.{}", id(&event)));
    assert_eq!(stored[0].headers.get("Nats-Msg-Id").unwrap().as_str(), id(&event));
    assert_eq!(stored[0].body, event.body());
}

/// The consumer decides what to do with an event of an unknown type, so it is stored, too.
#[tokio::test]
async fn stores_event_of_unknown_type() {
    let Some((_server, broker)) = server_and_broker().await else { return };
    let event = TestEvent::busy().with_type("workspace.booked");
    assert_eq!(deliver(&new_receiver(&broker), &event).await.status, 202);
    assert_eq!(stored_ids(&broker).await, [id(&event)]);
}

/// The receiver restarts, and has forgotten its claims. Then the server restarts, too.
#[tokio::test]
async fn stores_redelivery_after_restart_once() {
    let Some((mut server, broker)) = server_and_broker().await else { return };
    let event = TestEvent::busy();
    assert_eq!(deliver(&new_receiver(&broker), &event).await.status, 202);
    assert_eq!(deliver(&new_receiver(&broker), &event).await.status, 200);
    server.kill();
    server.restart();
    let broker = Broker::connect(&server.nats_url(), None).await.unwrap();
    assert_eq!(deliver(&new_receiver(&broker), &event).await.status, 200);
    let changed = event.clone().with("note", "another body");
    assert_eq!(deliver(&new_receiver(&broker), &changed).await.status, 200);
    assert_eq!(stored_in(&broker, STREAM).await.len(), 1);
    assert_eq!(stored_in(&broker, STREAM).await[0].body, event.body());
}

/// After two minutes the server has forgotten the message id. The subject still identifies the event.
#[tokio::test]
async fn finds_duplicate_without_message_id() {
    let Some((_server, broker)) = server_and_broker().await else { return };
    let event = TestEvent::busy();
    let subject = format!("roomz.events.{}", id(&event));
    broker.context().publish(subject, event.body().into()).await.unwrap().await.unwrap();
    assert_eq!(deliver(&new_receiver(&broker), &event).await.status, 200);
    assert_eq!(stored_ids(&broker).await, [id(&event)]);
}

/// Each receiver has its own connection and its own claims, as on several machines.
#[tokio::test]
async fn concurrent_receivers_store_event_once() {
    let Some((server, broker)) = server_and_broker().await else { return };
    let event = TestEvent::busy();
    let mut deliveries = JoinSet::new();
    for _ in 0..40 {
        let (url, event) = (server.nats_url(), event.clone());
        deliveries.spawn(async move {
            let broker = Broker::connect(&url, None).await.unwrap();
            deliver(&new_receiver(&broker), &event).await.status
        });
    }
    let mut statuses = deliveries.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 39].as_slice(), &[202]].concat());
    assert_eq!(stored_ids(&broker).await, [id(&event)]);
}

/// While the replicas agree on an event, the server rejects its duplicate with an error of its own.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_receivers_on_cluster_store_event_once() {
    let Some(servers) = cluster().await else { return };
    let mut receivers = Vec::new();
    for server in &servers {
        receivers.push(new_receiver(&Broker::connect(&server.nats_url(), None).await.unwrap()));
    }
    for round in 0..100 {
        let event = TestEvent::busy();
        let mut deliveries = JoinSet::new();
        for receiver in receivers.clone() {
            let event = event.clone();
            deliveries.spawn(async move { deliver(&receiver, &event).await.status });
        }
        let mut statuses = deliveries.join_all().await;
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 202], "event {round}");
    }
}

#[tokio::test]
async fn unavailable_server_is_503() {
    let Some((mut server, broker)) = server_and_broker().await else { return };
    let (receiver, event) = (new_receiver(&broker), TestEvent::busy());
    server.kill();
    eventually("disconnected", async || !broker.is_connected()).await;
    let unavailable = Answer { status: 503, retry_after: Some("5".to_owned()) };
    assert_eq!(deliver(&receiver, &event).await, unavailable);
    assert_eq!(deliver(&receiver, &event).await, unavailable, "the layer has released the event");

    server.restart();
    let statuses = deliver_until_accepted(&receiver, &event).await;
    assert_eq!(statuses.last(), Some(&202), "{statuses:?}");
    assert_eq!(stored_ids(&broker).await, [id(&event)]);
}

/// The connection stays open, but the server does not reply. Runs the timeout on paused time.
#[tokio::test]
async fn silent_server_is_503_after_timeout() {
    let Some((server, broker)) = server_and_broker().await else { return };
    let (receiver, event) = (new_receiver(&broker), TestEvent::busy());
    server.signal("STOP");
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    assert_eq!(deliver(&receiver, &event).await.status, 503);
    assert_eq!(start.elapsed().as_secs(), 5);
    tokio::time::resume();

    // The server still gets the event of the first delivery. That must not store it twice.
    server.signal("CONT");
    deliver_until_accepted(&receiver, &event).await;
    assert_eq!(stored_ids(&broker).await, [id(&event)]);
}

/// The server is killed three times while events are published. Each event that was answered 2xx is in the
/// stream, and each event is there once after it was delivered again.
#[tokio::test(flavor = "multi_thread")]
async fn killed_server_keeps_acknowledged_events() {
    let Some(mut server) = Server::nats_or_skip("") else { return };
    let (mut sent_ids, mut unanswered) = (Vec::new(), 0);
    for round in 1..=3 {
        let broker = Broker::connect(&server.nats_url(), None).await.unwrap();
        let (sent, accepted) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let mut senders = JoinSet::new();
        for _ in 0..8 {
            let (receiver, sent, accepted) = (new_receiver(&broker), sent.clone(), accepted.clone());
            senders.spawn(async move {
                loop {
                    let event = TestEvent::busy();
                    sent.lock().unwrap().push(event.clone());
                    if deliver(&receiver, &event).await.is_success() {
                        accepted.lock().unwrap().push(id(&event));
                    } else {
                        return;
                    }
                }
            });
        }
        eventually("100 events are accepted", async || accepted.lock().unwrap().len() >= 100).await;
        server.kill();
        senders.shutdown().await;
        let (sent, accepted) = (take(&mut *sent.lock().unwrap()), take(&mut *accepted.lock().unwrap()));
        unanswered += sent.len() - accepted.len();
        server.restart();

        let broker = Broker::connect(&server.nats_url(), None).await.unwrap();
        let stored: HashSet<_> = stored_ids(&broker).await.into_iter().collect();
        let lost: Vec<_> = accepted.iter().filter(|id| !stored.contains(*id)).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
        let receiver = new_receiver(&broker);
        for event in &sent {
            assert!(deliver(&receiver, event).await.is_success());
        }
        sent_ids.extend(sent.iter().map(id));
        sent_ids.sort();
        assert_eq!(stored_ids(&broker).await, sent_ids, "round {round}");
    }
    println!("{} events, of which {unanswered} were not answered when the server was killed", sent_ids.len());
    assert!(unanswered > 0);
}

/// A deleted stream, and one that is full.
#[tokio::test]
async fn event_that_server_rejects_is_503() {
    let Some((_server, broker)) = server_and_broker().await else { return };
    let receiver = new_receiver(&broker);
    let mut config = broker.stream().cached_info().config.clone();
    config.max_messages = 1;
    broker.context().update_stream(config).await.unwrap();
    let first = TestEvent::busy();
    assert_eq!(deliver(&receiver, &first).await.status, 202);
    assert_eq!(deliver(&receiver, &TestEvent::busy()).await.status, 503);
    assert_eq!(stored_ids(&broker).await, [id(&first)]);

    broker.context().delete_stream(STREAM).await.unwrap();
    assert_eq!(deliver(&receiver, &TestEvent::busy()).await.status, 503);
}

/// The stream exists already, with settings of someone else.
#[tokio::test]
async fn rejects_stream_that_loses_events() {
    let Some((_server, broker)) = server_and_broker().await else { return };
    let good = broker.stream().cached_info().config.clone();
    let day = Duration::from_secs(24 * 60 * 60);
    for (config, problem) in [
        (Config { retention: RetentionPolicy::WorkQueue, ..good.clone() }, "its retention must be `limits`"),
        (Config { max_age: day, ..good.clone() }, "its max_age must be at least 7 days"),
        (Config { discard: DiscardPolicy::Old, ..good.clone() }, "its discard policy must be `new`"),
        (Config { storage: StorageType::Memory, ..good.clone() }, "its storage must be `file`"),
        (Config { max_bytes: 1 << 30, max_age: 8 * day, ..good }, ""),
    ] {
        // A stream that is created right after one of the same name was deleted can fail with error 10049.
        let Some(server) = Server::nats_or_skip("") else { return };
        let client = async_nats::connect(server.nats_url()).await.unwrap();
        async_nats::jetstream::new(client).create_stream(config).await.unwrap();
        match Broker::connect(&server.nats_url(), None).await {
            Ok(_) => assert_eq!(problem, ""),
            Err(error) => assert!(!problem.is_empty() && error.contains(problem), "{error}"),
        }
    }
}

/// No error contains a part of the password.
#[tokio::test]
async fn errors_omit_password() {
    for (url, text) in [
        ("http://127.0.0.1:1", "invalid scheme for NATS server URL: http; use nats://HOST:PORT"),
        ("nats://user:canary@127.0.0.1:99999", "use nats://HOST:PORT"),
        ("nats://user:canary@127.0.0.1:1", "set NATS_USER and NATS_PASSWORD to log in"),
        ("nats://canary:1/canary@127.0.0.1:1", "set NATS_USER and NATS_PASSWORD to log in"),
        ("nats://127.0.0.1:1,nats://localhost:1", "on 127.0.0.1:1, localhost:1: IO error: "),
    ] {
        let error = Broker::connect(url, None).await.unwrap_err();
        assert!(error.contains(text) && !error.contains("canary") && !error.contains('\n'), "{error}");
    }
    let Some(server) = Server::nats_or_skip("authorization { user: user, password: right }") else { return };
    let connect = async |password: &str| {
        Broker::connect(&server.nats_url(), Some(("user".to_owned(), password.to_owned()))).await
    };
    let error = connect("canary").await.unwrap_err();
    assert!(error.ends_with("; set NATS_USER and NATS_PASSWORD") && !error.contains("canary"), "{error}");
    let broker = connect("right").await.unwrap();
    assert_eq!(deliver(&new_receiver(&broker), &TestEvent::busy()).await.status, 202);
    assert!(!format!("{broker:?}").contains("right"));
}
