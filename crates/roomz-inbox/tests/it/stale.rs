//! A worker that lost its lease changes nothing, however its attempt ends.
//!
//! In each test, worker A takes an event and is slow. Its lease ends, and worker B, in another process, takes
//! the event. Then the attempt of A ends while that of B runs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Call, Calls, POLL, TestDatabase, WAIT, deliver_new, entry, key, on_both, wait_for};
use roomz_inbox::{BoxError, Inbox, InboxState, Job, Worker};
use roomz_webhook::testing::TestEvent;
use tokio::sync::{Notify, oneshot};
use tower::service_fn;

on_both! {
    stale_success_changes_nothing
    stale_success_without_effect_changes_nothing
    stale_error_changes_nothing
    stale_panic_changes_nothing
    stale_timeout_changes_nothing
    stale_error_starts_no_third_attempt
    stale_error_spares_retried_dead_letter
    stale_success_spares_dead_letter
    stale_give_back_changes_nothing
    stale_success_after_the_current_one_changes_nothing
    stale_handler_is_dropped_at_renewal
    owner_completes_after_its_lease
}

/// A worker in a process of its own, which handles one event at a time.
struct Process {
    inbox: Inbox,
    worker: Worker,
    calls: Calls,
}

impl Process {
    async fn start(database: &TestDatabase, max_attempts: u32) -> Self {
        Self::start_with(database, max_attempts, WAIT).await
    }

    async fn start_with(database: &TestDatabase, max_attempts: u32, lease: Duration) -> Self {
        let inbox = Inbox::connect(&database.url).await.unwrap();
        let (service, calls) = Calls::new();
        let worker = inbox
            .worker(service)
            .with_concurrency(1)
            .with_max_attempts(max_attempts)
            .with_lease(lease)
            .with_poll_interval(POLL)
            .start();
        Self { inbox, worker, calls }
    }

    /// Waits until this worker has settled its attempt: it takes the next event.
    async fn wait_until_settled(&mut self) {
        let marker = deliver_new(&self.inbox).await;
        let call = self.calls.next().await;
        assert_eq!(call.id, key(&marker).id(), "this worker has the event again");
        call.skip();
        wait_for(&self.inbox, &marker, InboxState::Done).await;
    }
}

struct Scene {
    database: TestDatabase,
    event: TestEvent,
    a: Process,
    b: Process,
}

impl Scene {
    /// Returns the calls of A and B.
    async fn new(database: TestDatabase, max_attempts: u32) -> (Self, Call, Call) {
        let mut a = Process::start(&database, max_attempts).await;
        database.create_effects().await;
        let event = deliver_new(&a.inbox).await;
        let call_of_a = a.calls.next().await;
        let mut b = Process::start(&database, max_attempts).await;
        database.make_due().await;
        let call_of_b = b.calls.next().await;
        assert_eq!((call_of_a.attempt, call_of_b.attempt, call_of_a.id), (1, 2, call_of_b.id));
        (Self { database, event, a, b }, call_of_a, call_of_b)
    }

    /// Asserts that B still has the event, and lets it succeed.
    async fn finish(mut self, call_of_b: Call) {
        self.a.wait_until_settled().await;
        let running = entry(&self.b.inbox, &self.event).await;
        assert_eq!((running.state, running.attempts, running.error), (InboxState::Running, 2, None));
        call_of_b.succeed();
        let done = wait_for(&self.b.inbox, &self.event, InboxState::Done).await;
        assert_eq!((done.attempts, done.error), (2, None));
        assert_eq!(self.database.effects().await, [2]);
        assert!(self.a.calls.is_empty() && self.b.calls.is_empty());
        self.a.worker.shutdown(WAIT).await;
        self.b.worker.shutdown(WAIT).await;
    }
}

async fn stale_success_changes_nothing(database: TestDatabase) {
    let (scene, call_of_a, call_of_b) = Scene::new(database, 3).await;
    call_of_a.succeed();
    scene.finish(call_of_b).await;
}

/// The stale handler notices that it is stale, and returns `Ok` without an effect.
async fn stale_success_without_effect_changes_nothing(database: TestDatabase) {
    let (scene, call_of_a, call_of_b) = Scene::new(database, 3).await;
    call_of_a.skip();
    scene.finish(call_of_b).await;
}

async fn stale_error_changes_nothing(database: TestDatabase) {
    let (scene, call_of_a, call_of_b) = Scene::new(database, 3).await;
    call_of_a.fail("stale");
    scene.finish(call_of_b).await;
}

async fn stale_panic_changes_nothing(database: TestDatabase) {
    let (scene, call_of_a, call_of_b) = Scene::new(database, 3).await;
    call_of_a.panic("stale");
    scene.finish(call_of_b).await;
}

/// A is suspended for longer than its handler may take.
async fn stale_timeout_changes_nothing(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let (url, (started, is_started)) = (database.url.clone(), oneshot::channel());
    let (resume, suspended) = std::sync::mpsc::channel::<()>();
    // The blocked thread suspends all tasks of A.
    let a = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (started, suspended) = (Mutex::new(Some(started)), Mutex::new(suspended));
        let state = Arc::new((started, suspended, Notify::new()));
        let of_handler = Arc::clone(&state);
        runtime.block_on(async move {
            let inbox = Inbox::connect(url).await.unwrap();
            let inbox_of_handler = inbox.clone();
            let handler = service_fn(move |_: Job| {
                let (state, inbox) = (Arc::clone(&of_handler), inbox_of_handler.clone());
                async move {
                    // On SQLite, this process has no transaction now, which would block the other process.
                    inbox.stats().await.unwrap();
                    state.0.lock().unwrap().take().unwrap().send(()).unwrap();
                    // It ends, too, if the test fails.
                    let _ = state.1.lock().unwrap().recv();
                    tokio::time::pause();
                    state.2.notify_one();
                    tokio::time::advance(WAIT).await;
                    std::future::pending::<Result<(), BoxError>>().await
                }
            });
            let worker = inbox
                .worker(handler)
                .with_concurrency(1)
                .with_handler_timeout(WAIT)
                .with_lease(WAIT * 100)
                .start();
            state.2.notified().await;
            tokio::time::resume();
            worker.shutdown(WAIT).await;
        });
    });
    is_started.await.unwrap();
    let mut b = Process::start(&database, 3).await;
    database.make_due().await;
    let call_of_b = b.calls.next().await;
    resume.send(()).unwrap();
    a.await.unwrap();
    let running = entry(&inbox, &event).await;
    assert_eq!((running.state, running.attempts, running.error), (InboxState::Running, 2, None));
    call_of_b.succeed();
    assert_eq!(wait_for(&inbox, &event, InboxState::Done).await.attempts, 2);
    assert_eq!(database.effects().await, [2]);
    b.worker.shutdown(WAIT).await;
}

/// The second attempt is the last. A third worker does not get the event beside it, and its failure is final.
async fn stale_error_starts_no_third_attempt(database: TestDatabase) {
    let (scene, call_of_a, call_of_b) = Scene::new(database, 2).await;
    let mut c = Process::start(&scene.database, 2).await;
    call_of_a.fail("stale");
    scene.a.worker.shutdown(WAIT).await;
    c.wait_until_settled().await;
    assert_eq!(entry(&c.inbox, &scene.event).await.state, InboxState::Running);
    call_of_b.fail("current");
    let dead = wait_for(&c.inbox, &scene.event, InboxState::Dead).await;
    assert_eq!((dead.attempts, dead.error.as_deref()), (2, Some("current")));
    assert_eq!(scene.database.effects().await, [0_i64; 0]);
    assert!(c.calls.is_empty() && scene.b.calls.is_empty());
    scene.b.worker.shutdown(WAIT).await;
    c.worker.shutdown(WAIT).await;
}

/// The stale attempt was the last one, so B recorded a dead letter. A person retried it, and B runs it.
async fn stale_error_spares_retried_dead_letter(database: TestDatabase) {
    let mut a = Process::start(&database, 1).await;
    database.create_effects().await;
    let event = deliver_new(&a.inbox).await;
    let call_of_a = a.calls.next().await;
    let mut b = Process::start(&database, 1).await;
    database.make_due().await;
    wait_for(&b.inbox, &event, InboxState::Dead).await;
    assert!(b.inbox.retry(&key(&event)).await.unwrap());
    let call_of_b = b.calls.next().await;
    call_of_a.fail("stale");
    a.wait_until_settled().await;
    let running = entry(&b.inbox, &event).await;
    assert_eq!((running.state, running.attempts), (InboxState::Running, 2));
    call_of_b.succeed();
    wait_for(&b.inbox, &event, InboxState::Done).await;
    assert_eq!(database.effects().await, [2]);
    a.worker.shutdown(WAIT).await;
    b.worker.shutdown(WAIT).await;
}

async fn stale_success_spares_dead_letter(database: TestDatabase) {
    let mut a = Process::start(&database, 1).await;
    database.create_effects().await;
    let event = deliver_new(&a.inbox).await;
    let call_of_a = a.calls.next().await;
    let b = Process::start(&database, 1).await;
    database.make_due().await;
    wait_for(&b.inbox, &event, InboxState::Dead).await;
    b.worker.shutdown(WAIT).await;
    call_of_a.succeed();
    a.wait_until_settled().await;
    assert_eq!(entry(&b.inbox, &event).await.state, InboxState::Dead);
    assert_eq!(database.effects().await, [0_i64; 0]);
    a.worker.shutdown(WAIT).await;
}

/// A shuts down and gives its event back.
async fn stale_give_back_changes_nothing(database: TestDatabase) {
    let (scene, call_of_a, call_of_b) = Scene::new(database, 3).await;
    let Scene { database, event, a, mut b } = scene;
    a.worker.shutdown(Duration::ZERO).await;
    call_of_a.dropped().await;
    let running = entry(&b.inbox, &event).await;
    assert_eq!((running.state, running.attempts), (InboxState::Running, 2));
    call_of_b.succeed();
    b.wait_until_settled().await;
    assert_eq!(entry(&b.inbox, &event).await.state, InboxState::Done);
    assert_eq!(database.effects().await, [2]);
    b.worker.shutdown(WAIT).await;
}

async fn stale_success_after_the_current_one_changes_nothing(database: TestDatabase) {
    let (scene, call_of_a, call_of_b) = Scene::new(database, 3).await;
    let Scene { database, event, mut a, b } = scene;
    call_of_b.succeed();
    let done = wait_for(&b.inbox, &event, InboxState::Done).await;
    b.worker.shutdown(WAIT).await;
    call_of_a.succeed();
    a.wait_until_settled().await;
    assert_eq!(entry(&b.inbox, &event).await.due, done.due);
    assert_eq!(database.effects().await, [2]);
    a.worker.shutdown(WAIT).await;
}

/// A renews its lease in short intervals, and drops its handler when B has the event.
async fn stale_handler_is_dropped_at_renewal(database: TestDatabase) {
    let mut a = Process::start_with(&database, 3, Duration::from_secs(1)).await;
    database.create_effects().await;
    let event = deliver_new(&a.inbox).await;
    let call_of_a = a.calls.next().await;
    // What B does when it takes the event.
    let taken = "UPDATE roomz_inbox SET due = due + 1000000, attempt = 2, owner = ";
    database.execute(format!("{taken}{}", if database.is_sqlite() { "x'00'" } else { "'\\x00'" })).await;
    call_of_a.dropped().await;
    a.wait_until_settled().await;
    let running = entry(&a.inbox, &event).await;
    assert_eq!((running.state, running.attempts), (InboxState::Running, 2));
    a.worker.shutdown(WAIT).await;
}

/// Nobody took the event over, so the attempt counts although its lease ended.
async fn owner_completes_after_its_lease(database: TestDatabase) {
    let mut a = Process::start(&database, 3).await;
    database.create_effects().await;
    let event = deliver_new(&a.inbox).await;
    let call = a.calls.next().await;
    database.make_due().await;
    call.succeed();
    assert_eq!(wait_for(&a.inbox, &event, InboxState::Done).await.attempts, 1);
    assert_eq!(database.effects().await, [1]);
    a.worker.shutdown(WAIT).await;
}
