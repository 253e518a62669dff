//! Events that are taken and completed together, each with its own outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{POLL, TestDatabase, WAIT, deliver, deliver_new, key, on_both, wait_for, write_effect};
use roomz_inbox::{BoxError, Inbox, InboxState, InboxStats, Job, Worker};
use roomz_webhook::testing::TestEvent;
use tokio::sync::Semaphore;
use tower::service_fn;

on_both! {
    prefetched_events_are_given_back_at_shutdown
    slow_handlers_hold_no_event
    hanging_handlers_stop_prefetching
    handlers_fail_alone
    failing_completion_fails_alone
    repeated_events_are_not_prefetched
}

const CONCURRENCY: usize = 10;
const BACKLOG: usize = 300;
const FAST: usize = 50;

/// Waits until the counts are such.
async fn wait_until(inbox: &Inbox, is_reached: impl Fn(InboxStats) -> bool) {
    let start = Instant::now();
    while !is_reached(inbox.stats().await.unwrap()) {
        assert!(start.elapsed() < WAIT, "{:?}", inbox.stats().await);
        tokio::time::sleep(POLL).await;
    }
}

/// An inbox with a backlog. The first handlers are fast, so that the worker prefetches events. The others
/// wait for the permits. Returns how many handlers started, too.
async fn prefetched(database: &TestDatabase) -> (Inbox, Worker, Arc<Semaphore>, Arc<AtomicUsize>) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    for _ in 0..BACKLOG {
        deliver_new(&inbox).await;
    }
    let (permits, started) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let state = (Arc::clone(&permits), Arc::clone(&started));
    let handler = service_fn(move |_: Job| {
        let (permits, started) = state.clone();
        async move {
            if started.fetch_add(1, Ordering::Relaxed) >= FAST {
                permits.acquire().await?.forget();
            }
            Ok::<_, BoxError>(())
        }
    });
    let worker = inbox.worker(handler).with_concurrency(CONCURRENCY).with_lease(WAIT * 60).start();
    let start = Instant::now();
    while started.load(Ordering::Relaxed) < FAST + CONCURRENCY {
        assert!(start.elapsed() < WAIT, "the handlers did not start");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (inbox, worker, permits, started)
}

/// Their attempts do not count.
async fn prefetched_events_are_given_back_at_shutdown(database: TestDatabase) {
    let (inbox, worker, permits, started) = prefetched(&database).await;
    let mut shutdown = Box::pin(worker.shutdown(WAIT));
    assert!(tokio::time::timeout(Duration::ZERO, &mut shutdown).await.is_err());
    permits.add_permits(BACKLOG);
    shutdown.await;
    let stats = inbox.stats().await.unwrap();
    let done = database.number("SELECT count(*) FROM roomz_inbox WHERE state = 2").await;
    assert_eq!(usize::try_from(done).unwrap(), started.load(Ordering::Relaxed));
    assert_eq!((stats.running, stats.dead), (0, 0));
    assert!(stats.waiting > 0);
    assert_eq!(database.number("SELECT count(*) FROM roomz_inbox WHERE state = 0 AND attempt > 0").await, 0);
}

/// Another worker gets the events that one prefetched before its handlers became slow.
async fn slow_handlers_hold_no_event(database: TestDatabase) {
    let (inbox, slow, permits, _) = prefetched(&database).await;
    let handler = service_fn(async |_: Job| Ok::<_, BoxError>(()));
    let other = Inbox::connect(&database.url).await.unwrap();
    let other = other.worker(handler).with_poll_interval(POLL).start();
    wait_until(&inbox, |stats| stats.waiting == 0 && stats.running <= CONCURRENCY as u64).await;
    assert!(inbox.stats().await.unwrap().running > 0, "the slow handlers still run");
    permits.add_permits(BACKLOG);
    wait_until(&inbox, |stats| stats.running == 0).await;
    slow.shutdown(WAIT).await;
    other.shutdown(WAIT).await;
}

/// What was prefetched is given back once, and not taken again while the handlers hang.
async fn hanging_handlers_stop_prefetching(database: TestDatabase) {
    let (inbox, worker, permits, _) = prefetched(&database).await;
    let is_given_back = |stats: InboxStats| stats.waiting > 0 && stats.running <= CONCURRENCY as u64;
    wait_until(&inbox, is_given_back).await;
    let rests =
        tokio::time::timeout(Duration::from_secs(1), wait_until(&inbox, |stats| !is_given_back(stats)));
    assert!(rests.await.is_err(), "events were taken again: {:?}", inbox.stats().await);
    permits.add_permits(BACKLOG);
    wait_until(&inbox, |stats| stats.waiting + stats.running == 0).await;
    worker.shutdown(WAIT).await;
}

/// Handlers that end, fail and panic, all at once.
async fn handlers_fail_alone(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let mut events = Vec::new();
    for number in 0..40 {
        let event = TestEvent::presence(["succeed", "succeed", "fail", "panic"][number % 4]);
        assert_eq!(deliver(&inbox, &event).await, 202);
        events.push(event);
    }
    let handler = service_fn(async |mut job: Job<roomz_inbox::WorkspacePresenceChanged>| {
        write_effect(&mut job).await?;
        match job.event().data.presence_status.as_str() {
            "fail" => Err("failed".into()),
            "panic" => std::panic::panic_any("failed"),
            _ => Ok::<_, BoxError>(()),
        }
    });
    let worker = inbox.worker(handler).with_max_attempts(2).with_backoff(POLL, POLL).start();
    let mut done = 0;
    for event in events {
        let succeeds = String::from_utf8(event.body()).unwrap().contains("succeed");
        let state = if succeeds { InboxState::Done } else { InboxState::Dead };
        wait_for(&inbox, &event, state).await;
        done += i64::from(succeeds);
    }
    assert_eq!(database.number("SELECT count(*) FROM effects").await, done);
    worker.shutdown(WAIT).await;
}

/// The database rejects the completion of one event, with and without a transaction of its handler.
async fn failing_completion_fails_alone(database: TestDatabase) {
    for has_transaction in [true, false] {
        let inbox = Inbox::connect(&database.url).await.unwrap();
        database.execute("DROP TABLE IF EXISTS effects").await;
        database.create_effects().await;
        let mut events = Vec::new();
        for _ in 0..20 {
            events.push(deliver_new(&inbox).await);
        }
        let rejected = events.pop().unwrap();
        let id = key(&rejected).id().as_uuid().simple().to_string();
        if database.is_sqlite() {
            let text = format!(
                "CREATE TRIGGER reject BEFORE UPDATE ON roomz_inbox WHEN NEW.state = 2 AND hex(NEW.event_id) = '{}' \
                 BEGIN SELECT RAISE(ABORT, 'rejected'); END",
                id.to_uppercase()
            );
            database.execute(text).await;
        } else {
            let text = format!(
                "CREATE OR REPLACE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'rejected'; END $$; \
                 CREATE TRIGGER reject BEFORE UPDATE ON roomz_inbox FOR EACH ROW \
                 WHEN (NEW.state = 2 AND encode(NEW.event_id, 'hex') = '{id}') EXECUTE FUNCTION reject()"
            );
            database.execute(text).await;
        }
        let handler = service_fn(move |mut job: Job| async move {
            if has_transaction { write_effect(&mut job).await } else { Ok::<_, BoxError>(()) }
        });
        let worker = inbox.worker(handler).with_poll_interval(POLL).with_backoff(POLL, POLL).start();
        for event in &events {
            assert_eq!(wait_for(&inbox, event, InboxState::Done).await.attempts, 1);
        }
        assert_ne!(inbox.get(&key(&rejected)).await.unwrap().unwrap().state, InboxState::Done);
        let drop =
            if database.is_sqlite() { "DROP TRIGGER reject" } else { "DROP TRIGGER reject ON roomz_inbox" };
        database.execute(drop).await;
        wait_for(&inbox, &rejected, InboxState::Done).await;
        if has_transaction {
            assert_eq!(database.number("SELECT count(*) FROM effects").await, 20);
        }
        worker.shutdown(WAIT).await;
    }
}

/// An event that ends its process each time uses no attempts of events that wait for a handler.
async fn repeated_events_are_not_prefetched(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    for _ in 0..BACKLOG {
        deliver_new(&inbox).await;
    }
    database.execute("UPDATE roomz_inbox SET attempt = 1").await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (taken, database) = (Arc::clone(&most), Arc::new(database));
    let counted = Arc::clone(&database);
    let handler = service_fn(move |_: Job| {
        let (running, taken, database) = (Arc::clone(&running), Arc::clone(&taken), Arc::clone(&counted));
        async move {
            if running.fetch_add(1, Ordering::Relaxed) % 10 == 9 {
                let now = database.number("SELECT count(*) FROM roomz_inbox WHERE state = 1").await;
                taken.fetch_max(usize::try_from(now)?, Ordering::Relaxed);
            }
            Ok::<_, BoxError>(())
        }
    });
    let worker = inbox.worker(handler).with_concurrency(CONCURRENCY).start();
    wait_until(&inbox, |stats| stats.waiting + stats.running == 0).await;
    worker.shutdown(WAIT).await;
    let most = most.load(Ordering::Relaxed);
    assert!(most <= CONCURRENCY, "{most} were taken");
}
