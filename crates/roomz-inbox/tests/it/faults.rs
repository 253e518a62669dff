//! The inbox with a database that is silent, suspended or restarted, and outside of a runtime.

use std::time::Duration;

use crate::support::{
    POLL, TestDatabase, WAIT, deliver, deliver_new, deliver_to, deliver_until, entry, gated_worker, on_both,
    wait_for, write_effect,
};
use roomz_inbox::{BoxError, Inbox, InboxState, Job};
use roomz_tests::Server;
use roomz_tests::proxy::{Network, Proxy};
use roomz_webhook::testing::TestEvent;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tower::service_fn;

on_both! {
    call_may_be_dropped_outside_runtime
    job_may_be_dropped_outside_runtime
    waiting_handlers_get_their_transaction
    rejected_row_fails_alone
    attempt_is_recorded_without_a_rejected_text
}

/// A server behind a proxy, and a database for the test itself.
async fn behind_proxy() -> Option<(Server, Proxy, TestDatabase, String)> {
    let server = Server::postgres_or_skip(&[])?;
    let proxy = Proxy::start(server.address()).await;
    let database = TestDatabase::postgres_at(&server.postgres_url()).await;
    let (_, name) = database.url.rsplit_once('/').unwrap();
    let url = format!("postgres://postgres@{}/{name}", proxy.address());
    Some((server, proxy, database, url))
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_network_gets_503() {
    let Some((_server, proxy, database, url)) = behind_proxy().await else { return };
    let inbox = Inbox::connect(url).await.unwrap();
    database.create_effects().await;
    let (worker, mut calls) = gated_worker(&inbox);
    let accepted = deliver_new(&inbox).await;
    calls.next().await.succeed();
    wait_for(&inbox, &accepted, InboxState::Done).await;
    proxy.set(Network::Blackholes);
    let event = TestEvent::busy();
    assert_eq!(deliver(&inbox, &event).await, 503);
    proxy.set(Network::Forwards);
    deliver_until(&inbox, &event, &[202]).await;
    assert_eq!(deliver(&inbox, &accepted).await, 200);
    calls.next().await.succeed();
    wait_for(&inbox, &event, InboxState::Done).await;
    assert_eq!(database.effects().await, [1, 1]);
    worker.shutdown(WAIT).await;
}

/// A firewall dropped the state of all idle connections. The first operation without a reply replaces them.
#[tokio::test(flavor = "multi_thread")]
async fn first_timeout_replaces_all_connections() {
    const HANDLERS: usize = 5;
    let Some((_server, proxy, database, url)) = behind_proxy().await else { return };
    let inbox = Inbox::connect(url).await.unwrap();
    database.create_effects().await;
    let all_began = std::sync::Arc::new(tokio::sync::Barrier::new(HANDLERS));
    let worker = inbox.worker(service_fn(move |mut job: Job| {
        let all_began = std::sync::Arc::clone(&all_began);
        async move {
            write_effect(&mut job).await?;
            // Each has a connection of its own.
            all_began.wait().await;
            Ok::<_, BoxError>(())
        }
    }));
    let worker = worker.with_poll_interval(POLL).start();
    for round in 0..2 {
        let mut events = Vec::new();
        for _ in 0..HANDLERS {
            events.push(deliver_new(&inbox).await);
        }
        for event in &events {
            assert_eq!(wait_for(&inbox, event, InboxState::Done).await.attempts, 1);
        }
        if round == 0 {
            proxy.set(Network::Blackholes);
            assert_eq!(deliver(&inbox, &events[0]).await, 503);
            proxy.set(Network::Forwards);
            deliver_until(&inbox, &events[0], &[200]).await;
        }
    }
    worker.shutdown(WAIT).await;
}

/// The server commits the transaction of the handler, and ends before it replies.
#[tokio::test(flavor = "multi_thread")]
async fn commit_without_reply_is_done_once() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let database = TestDatabase::postgres_at(&server.postgres_url()).await;
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let (worker, mut calls) = gated_worker(&inbox);
    let call = calls.next().await;
    let mut admin = PgConnection::connect(&server.postgres_url()).await.unwrap();
    // The commit is durable here, and waits for a standby that does not exist.
    server.alter_system("SET synchronous_standby_names = 'missing'").await;
    call.succeed();
    let end_commit = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                      WHERE wait_event = 'SyncRep' AND query LIKE 'COMMIT%'";
    while sqlx::query_scalar::<_, i64>(end_commit).fetch_one(&mut admin).await.unwrap() == 0 {
        tokio::time::sleep(POLL).await;
    }
    server.alter_system("RESET synchronous_standby_names").await;
    let done = wait_for(&inbox, &event, InboxState::Done).await;
    assert_eq!((done.attempts, done.error), (1, None));
    assert_eq!(database.effects().await, [1]);
    worker.shutdown(WAIT).await;
}

/// The server commits a take, and ends before it replies. The events do not wait for the end of their lease.
#[tokio::test(flavor = "multi_thread")]
async fn take_without_reply_is_given_back() {
    take_is_given_back(Duration::ZERO).await;
}

/// The commit becomes visible when the worker has given up the reply, and taken other events since.
#[tokio::test(flavor = "multi_thread")]
async fn late_take_is_given_back() {
    take_is_given_back(Duration::from_secs(4)).await;
}

async fn take_is_given_back(stall: Duration) {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let database = TestDatabase::postgres_at(&server.postgres_url()).await;
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let mut admin = PgConnection::connect(&server.postgres_url()).await.unwrap();
    server.alter_system("SET synchronous_standby_names = 'missing'").await;
    let (service, mut calls) = crate::support::Calls::new();
    let worker = inbox.worker(service).with_max_attempts(1).with_lease(WAIT * 60).with_poll_interval(POLL);
    let worker = worker.start();
    for (change, pause) in [("pid", stall), ("pg_terminate_backend(pid)", Duration::ZERO)] {
        let filter = "wait_event = 'SyncRep' AND query LIKE '%WITH next%'";
        let sql = format!("SELECT count({change}) FROM pg_stat_activity WHERE {filter}");
        let takes = || sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql.clone()));
        while takes().fetch_one(&mut admin).await.unwrap() == 0 {
            tokio::time::sleep(POLL).await;
        }
        tokio::time::sleep(pause).await;
    }
    server.alter_system("RESET synchronous_standby_names").await;
    let call = calls.next().await;
    assert_eq!(call.attempt, 1);
    call.succeed();
    wait_for(&inbox, &event, InboxState::Done).await;
    worker.shutdown(WAIT).await;
}

/// The only slot of the worker is free again, although the database never replies on the connection of the
/// handler.
#[tokio::test(flavor = "multi_thread")]
async fn silent_network_at_completion_stops_no_worker() {
    let Some((_server, proxy, database, url)) = behind_proxy().await else { return };
    let inbox = Inbox::connect(url).await.unwrap();
    database.create_effects().await;
    for outcome in ["success", "error"] {
        let event = deliver_new(&inbox).await;
        let (written, mut is_written) = tokio::sync::mpsc::unbounded_channel();
        let go_on = std::sync::Arc::new(tokio::sync::Notify::new());
        let notify = std::sync::Arc::clone(&go_on);
        let worker = inbox
            .worker(service_fn(move |mut job: Job| {
                let (written, go_on) = (written.clone(), std::sync::Arc::clone(&notify));
                async move {
                    write_effect(&mut job).await?;
                    if job.attempt() == 1 {
                        written.send(()).unwrap();
                        go_on.notified().await;
                    }
                    if job.attempt() == 1 && outcome == "error" {
                        Err("broken".into())
                    } else {
                        Ok::<_, BoxError>(())
                    }
                }
            }))
            .with_concurrency(1)
            .with_lease(Duration::from_secs(1))
            .with_poll_interval(POLL)
            .start();
        is_written.recv().await.unwrap();
        proxy.set(Network::Blackholes);
        go_on.notify_one();
        // The inbox of the test does not use the proxy: the lease of the attempt ends.
        let direct = Inbox::connect(&database.url).await.unwrap();
        while entry(&direct, &event).await.due > roomz_webhook::Timestamp::now() {
            tokio::time::sleep(POLL).await;
        }
        proxy.set(Network::Forwards);
        let done = wait_for(&direct, &event, InboxState::Done).await;
        assert!(done.attempts >= 2, "{outcome}");
        worker.shutdown(WAIT).await;
    }
    assert_eq!(database.effects().await.len(), 2);
}

/// A running handler and a waiting event survive a restart of the server.
#[tokio::test(flavor = "multi_thread")]
async fn restarted_server_loses_nothing() {
    let Some(mut server) = Server::postgres_or_skip(&[]) else { return };
    let database = TestDatabase::postgres_at(&server.postgres_url()).await;
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let running = deliver_new(&inbox).await;
    let (worker, mut calls) = gated_worker(&inbox);
    let call = calls.next().await;
    let waiting = deliver_new(&inbox).await;
    server.kill();
    // It has no transaction yet: it begins one when the server is back.
    call.succeed();
    server.restart();
    wait_for(&inbox, &running, InboxState::Done).await;
    calls.next().await.succeed();
    wait_for(&inbox, &waiting, InboxState::Done).await;
    assert_eq!(database.effects().await, [1, 1]);
    worker.shutdown(WAIT).await;
}

/// The server ends the statements and transactions of operations that timed out, so that no session is left.
#[tokio::test(flavor = "multi_thread")]
async fn locked_table_leaves_no_sessions() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    lock.execute("LOCK TABLE roomz_inbox").await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let inbox = inbox.clone();
        calls.spawn(async move { inbox.stats().await.unwrap_err() });
    }
    let errors = calls.join_all().await;
    assert!(errors.iter().all(|error| std::error::Error::source(error).is_some()), "{errors:?}");
    let waiting =
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = CAST('roomz_inbox' AS regclass)";
    let start = std::time::Instant::now();
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *lock).await.unwrap() > 0 {
        assert!(start.elapsed() < WAIT, "the server still executes statements");
        tokio::time::sleep(POLL).await;
    }
}

/// Another transaction, for example that of a stale worker, locks the event that is due first.
#[tokio::test(flavor = "multi_thread")]
async fn locked_row_does_not_stop_the_others() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let locked = deliver_new(&inbox).await;
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    lock.execute("UPDATE roomz_inbox SET error = 'locked'").await.unwrap();
    let event = deliver_new(&inbox).await;
    let (worker, mut calls) = gated_worker(&inbox);
    calls.next().await.succeed();
    wait_for(&inbox, &event, InboxState::Done).await;
    lock.rollback().await.unwrap();
    calls.next().await.succeed();
    wait_for(&inbox, &locked, InboxState::Done).await;
    worker.shutdown(WAIT).await;
}

/// Each future is polled some times, and dropped on a thread without a runtime.
async fn call_may_be_dropped_outside_runtime(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let key = crate::support::key(&deliver_new(&inbox).await);
    for polls in 0..20 {
        let (of_call, key) = (inbox.clone(), key.clone());
        let mut call = Box::pin(async move {
            tokio::join!(of_call.stats(), of_call.list(InboxState::Waiting, 1), of_call.get(&key))
        });
        // Ends the call early, if it has not ended by itself.
        let _ = tokio::time::timeout(Duration::from_micros(100) * polls, &mut call).await;
        std::thread::spawn(move || drop(call)).join().expect("the thread panicked");
    }
    assert_eq!(inbox.stats().await.unwrap().waiting, 1);
}

/// The handler gives its job to a thread, which drops it with an open transaction after the handler was
/// dropped.
async fn job_may_be_dropped_outside_runtime(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let (sender, mut threads) = tokio::sync::mpsc::unbounded_channel();
    let worker = inbox
        .worker(service_fn(move |mut job: Job| {
            let sender = sender.clone();
            async move {
                write_effect(&mut job).await?;
                let (go_on, wait) = std::sync::mpsc::channel::<()>();
                let thread = std::thread::spawn(move || {
                    wait.recv().unwrap();
                    drop(job);
                });
                let (_dropped, is_dropped) = tokio::sync::oneshot::channel::<()>();
                sender.send((go_on, is_dropped, thread))?;
                std::future::pending::<Result<(), BoxError>>().await
            }
        }))
        .with_max_attempts(1)
        // On a busy machine, too, the write must end before the timeout.
        .with_handler_timeout(Duration::from_secs(3))
        .start();
    let (go_on, is_dropped, thread) = threads.recv().await.unwrap();
    tokio::time::timeout(WAIT, is_dropped).await.expect("the handler still runs").unwrap_err();
    go_on.send(()).unwrap();
    tokio::task::spawn_blocking(|| thread.join()).await.unwrap().expect("the thread panicked");
    wait_for(&inbox, &event, InboxState::Dead).await;
    assert_eq!(database.effects().await, [0_i64; 0]);
    worker.shutdown(WAIT).await;
}

/// More handlers than connections, whose transactions together take longer than an operation of the queue
/// may.
async fn waiting_handlers_get_their_transaction(database: TestDatabase) {
    let inbox = Inbox::builder(&database.url).with_max_connections(2).connect().await.unwrap();
    database.create_effects().await;
    let mut events = Vec::new();
    for _ in 0..20 {
        events.push(deliver_new(&inbox).await);
    }
    let worker = inbox
        .worker(service_fn(async |mut job: Job| {
            write_effect(&mut job).await?;
            // The transaction is slow.
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok::<_, BoxError>(())
        }))
        .with_concurrency(20)
        .start();
    // All handlers wait for their turn.
    while inbox.stats().await.map_or(true, |stats| stats.waiting > 0) {
        tokio::time::sleep(POLL).await;
    }
    events.push(deliver_new(&inbox).await);
    for event in &events {
        assert_eq!(wait_for(&inbox, event, InboxState::Done).await.attempts, 1);
    }
    assert_eq!(database.effects().await.len(), 21);
    worker.shutdown(WAIT).await;
}

/// Makes the database reject rows, as one does whose encoding lacks a character.
async fn reject_rows(database: &TestDatabase, condition: &str) {
    let sql = if database.is_sqlite() {
        let trigger = |event| {
            format!(
                "CREATE TRIGGER reject_{event} BEFORE {event} ON roomz_inbox WHEN {condition} \
                 BEGIN SELECT RAISE(ABORT, 'rejected'); END; "
            )
        };
        trigger("INSERT") + &trigger("UPDATE")
    } else {
        format!("ALTER TABLE roomz_inbox ADD CHECK (NOT coalesce({}, FALSE))", condition.replace("NEW.", ""))
    };
    database.execute(sql).await;
}

/// The other events of its batch are accepted.
async fn rejected_row_fails_alone(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    reject_rows(&database, "NEW.namespace = 'bad'").await;
    let mut deliveries = tokio::task::JoinSet::new();
    for number in 0..50 {
        let namespace = if number == 25 { "bad" } else { "good" };
        let layer = roomz_webhook::WebhookLayer::builder(roomz_tests::secret())
            .with_namespace(namespace)
            .build()
            .unwrap();
        let receiver = tower::Layer::layer(&layer, inbox.endpoint());
        deliveries.spawn(async move { deliver_to(receiver, &TestEvent::busy()).await.status().as_u16() });
    }
    let answers = deliveries.join_all().await;
    let count = |status| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((count(202), count(503)), (49, 1));
}

async fn attempt_is_recorded_without_a_rejected_text(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    reject_rows(&database, "NEW.error LIKE '%unstorable%'").await;
    let event = deliver_new(&inbox).await;
    let (worker, mut calls) = gated_worker(&inbox);
    calls.next().await.fail("unstorable");
    let failed = wait_for(&inbox, &event, InboxState::Waiting).await;
    assert_eq!(failed.attempts, 1);
    assert!(failed.due > failed.received);
    assert!(failed.error.unwrap().contains("rejected the text"));
    worker.shutdown(WAIT).await;
}
