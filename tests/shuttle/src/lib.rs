//! The layer, the stores in memory and the workers of the SQL stores under Shuttle, which stops a task at any
//! lock, atomic operation and notification, and lets another one run.
//!
//! The packages `std`, `tokio` and `tokio-util` beside this one replace what the product uses, so its source
//! is compiled unchanged.

#![cfg(test)]

mod store;

use std::cell::Cell;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use roomz_protocol::testing::TestEvent;
use roomz_protocol::{Secret, Uuid};
use roomz_webhook::store::{
    ClaimKey, ClaimRequest, ClaimState, CompactStore, Fingerprint, IdempotencyStore, InMemoryBuilder,
    MokaStore, Owner, Settled, StoreErrorKind,
};
use roomz_webhook::{Delivery, Event, Skipped, WebhookBody, WebhookLayer};
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use tokio::time::timeout;
use tower::{BoxError, Layer as _, Service, ServiceExt as _, service_fn};
use workers::{one_in, yields};

use crate::store::{FaultyStore, TestClock};

const EVENTS: usize = 2;
const DELIVERIES: usize = 5;
/// Few enough for one shard, because it is random which events share one.
const CAPACITY: u64 = 10_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

std::thread_local! {
    /// The layer catches panics, also those of the scheduler.
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

fn schedules(test: fn()) {
    // Statics of the product are shared by all tests.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    static HOOK: Once = Once::new();
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICKED.set(true);
            print(panic);
        }));
    });
    let is_long = std::env::var("ROOMZ_TESTS").is_ok_and(|tests| tests == "long");
    let count = if is_long { 20_000 } else { 2_000 };
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    shuttle::Runner::new(shuttle::scheduler::RandomScheduler::new(count), config).run(move || {
        test();
        assert!(!PANICKED.get(), "a panic was caught");
    });
}

fn secret() -> Secret {
    Secret::new("secret of the tests").unwrap()
}

fn moka_store() -> InMemoryBuilder<MokaStore> {
    MokaStore::builder().with_capacity(CAPACITY).with_clock(TestClock)
}

/// What happened to one event.
#[derive(Default)]
struct History {
    running: AtomicUsize,
    succeeded: AtomicUsize,
}

/// What the deliveries and the handlers of one schedule share.
struct Receiver {
    events: Vec<(TestEvent, History)>,
    handlers_fail: AtomicBool,
    /// No delivery may be answered 503.
    is_available: bool,
    /// What must not happen. The layer catches a panic of a handler.
    violations: Mutex<Vec<&'static str>>,
}

impl Receiver {
    fn check(&self, is_kept: bool, violation: &'static str) {
        if !is_kept {
            self.violations.lock().unwrap().push(violation);
        }
    }

    async fn handle(&self, delivery: &Delivery) -> Result<StatusCode, BoxError> {
        let of_delivery = |(event, _): &&(TestEvent, _)| event.body() == **delivery.body();
        let (_, history) = self.events.iter().find(of_delivery).unwrap();
        self.check(history.running.fetch_add(1, SeqCst) == 0, "two handlers of one event run");
        self.check(history.succeeded.load(SeqCst) == 0, "an event runs again after it succeeded");
        yields(8).await;
        history.running.fetch_sub(1, SeqCst);
        match thread_rng().gen_range(0..6) {
            0 if self.handlers_fail.load(SeqCst) => Ok(StatusCode::INTERNAL_SERVER_ERROR),
            1 if self.handlers_fail.load(SeqCst) => Err("the handler fails".into()),
            _ => {
                history.succeeded.fetch_add(1, SeqCst);
                Ok(StatusCode::OK)
            }
        }
    }

    /// Delivers an event. Returns whether it was accepted.
    async fn deliver<S>(&self, service: S, number: usize) -> bool
    where
        S: Service<
                Request<Full<Bytes>>,
                Response = Response<roomz_webhook::ResponseBody<Full<Bytes>>>,
                Error = BoxError,
            >,
    {
        let (event, history) = &self.events[number];
        let Ok(response) = service.oneshot(event.request("/", &secret())).await else { return false };
        let is_duplicate = response.extensions().get() == Some(&Skipped::Duplicate);
        let succeeded = history.succeeded.load(SeqCst);
        self.check(succeeded == 1 || !response.status().is_success(), "accepted before a handler succeeded");
        self.check(!self.is_available || response.status() != 503, "a delivery does not wait");
        self.check(!is_duplicate || succeeded == 1, "a duplicate of an event that is not done");
        response.status().is_success()
    }
}

/// Deliveries, duplicates, disconnects and a drain. Another process may hold an event for ever.
async fn run_schedule(store: impl IdempotencyStore + Clone, store_fails: Arc<AtomicBool>) {
    let events: Vec<_> = (0..EVENTS).map(|_| (TestEvent::busy(), History::default())).collect();
    let is_held = one_in(3);
    let drains = is_held || one_in(3);
    if is_held {
        let body = events[0].0.body();
        let key = ClaimKey::new("roomz".into(), Event::parse(&body).unwrap().id);
        let claim = ClaimRequest::new(Owner::random(), Fingerprint::of(&body), DAY, DAY);
        while !matches!(timeout(Duration::from_secs(1), store.claim(&key, &claim)).await, Ok(Ok(_))) {}
    }
    let builder = WebhookLayer::builder(secret()).with_clock(TestClock).with_store(store);
    let layer = builder.with_lease(DAY).with_lease_ceiling(2 * DAY).build().unwrap();
    let receiver = Arc::new(Receiver {
        events,
        handlers_fail: AtomicBool::new(true),
        is_available: !drains && !store_fails.load(SeqCst),
        violations: Mutex::default(),
    });
    let of_handler = Arc::clone(&receiver);
    let service = layer.layer(service_fn(move |request: Request<WebhookBody>| {
        let (receiver, delivery) =
            (Arc::clone(&of_handler), request.extensions().get::<Delivery>().cloned().unwrap());
        async move {
            let status = receiver.handle(&delivery).await?;
            let mut response = Response::new(Full::<Bytes>::default());
            *response.status_mut() = status;
            Ok::<_, BoxError>(response)
        }
    }));

    let (mut clients, open) = (Vec::new(), Arc::new(AtomicUsize::new(DELIVERIES)));
    for _ in 0..DELIVERIES {
        let (receiver, service, open) = (Arc::clone(&receiver), service.clone(), Arc::clone(&open));
        clients.push(tokio::spawn(async move {
            let delivery = receiver.deliver(service, thread_rng().gen_range(0..EVENTS));
            if one_in(4) {
                // The client disconnects.
                tokio::select! { biased; () = yields(16) => {}, _ = delivery => {} }
            } else {
                delivery.await;
            }
            open.fetch_sub(1, SeqCst);
        }));
    }
    if drains {
        let layer = layer.clone();
        clients.push(tokio::spawn(async move {
            loop {
                yields(100).await;
                layer.drain().await;
                // Only a drain ends a delivery of the held event.
                if !is_held || open.load(SeqCst) == 0 {
                    return;
                }
            }
        }));
    }
    for client in clients {
        client.await.expect("a client panicked");
    }
    store_fails.store(false, SeqCst);
    receiver.handlers_fail.store(false, SeqCst);
    layer.drain().await;
    // Nothing is left of the claims: each event succeeds at once, or it was done.
    let _hold = tokio::time::hold();
    for (number, (_, history)) in receiver.events.iter().enumerate().skip(is_held.into()) {
        assert!(receiver.deliver(service.clone(), number).await, "an event is blocked");
        assert_eq!(history.succeeded.load(SeqCst), 1, "an event succeeded never, or twice");
    }
    let violations = receiver.violations.lock().unwrap();
    assert!(violations.is_empty(), "{violations:?}");
}

/// Tasks claim, renew and settle three events, of which two may be in flight.
async fn claim_and_settle(store: impl IdempotencyStore + Clone) {
    const MAX_IN_FLIGHT: usize = 2;
    let keys: Arc<[_; 3]> =
        Arc::new([1, 2, 3].map(|id| ClaimKey::new("roomz".into(), Uuid::from_u128(id).into())));
    let running = Arc::new([const { AtomicUsize::new(0) }; 3]);
    let done = Arc::new([const { AtomicBool::new(false) }; 3]);
    let in_flight = Arc::new(AtomicUsize::new(0));
    let request = || ClaimRequest::new(Owner::random(), Fingerprint::of(b""), DAY, DAY);
    let tasks = (0..3).map(|_| {
        let (store, keys, in_flight) = (store.clone(), Arc::clone(&keys), Arc::clone(&in_flight));
        let (running, done) = (Arc::clone(&running), Arc::clone(&done));
        tokio::spawn(async move {
            for _ in 0..3 {
                let (number, request) = (thread_rng().gen_range(0..3), request());
                let (key, owner) = (&keys[number], request.owner);
                let was_done = done[number].load(SeqCst);
                match store.claim(key, &request).await.map(|claim| claim.state) {
                    Ok(ClaimState::Claimed { .. }) => {}
                    Ok(ClaimState::InFlight { .. }) => {
                        assert!(!was_done);
                        continue;
                    }
                    Ok(ClaimState::Done) => continue,
                    Err(error) => {
                        assert_eq!(error.kind(), StoreErrorKind::Full);
                        continue;
                    }
                }
                assert!(!was_done, "a done event is claimed");
                assert_eq!(running[number].fetch_add(1, SeqCst), 0, "two owners of one event");
                assert!(in_flight.fetch_add(1, SeqCst) < MAX_IN_FLIGHT, "too many events are in flight");
                assert_eq!(store.renew(key, owner, DAY).await.unwrap(), Settled::Applied);
                assert_eq!(
                    store.complete(key, Owner::random(), DAY).await.unwrap(),
                    Settled::Lost,
                    "of another owner"
                );
                in_flight.fetch_sub(1, SeqCst);
                running[number].fetch_sub(1, SeqCst);
                let settled = if one_in(2) {
                    let settled = store.complete(key, owner, DAY).await;
                    done[number].store(true, SeqCst);
                    settled
                } else {
                    store.release(key, owner).await
                };
                assert_eq!(settled.unwrap(), Settled::Applied);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("a task panicked");
    }
    // No event is counted as in flight.
    for id in 0..3 {
        let key = ClaimKey::new("other".into(), Uuid::from_u128(id).into());
        let claim = store.claim(&key, &request()).await;
        assert_eq!(claim.is_ok(), id < MAX_IN_FLIGHT as u128, "{claim:?}");
    }
}

#[test]
fn moka_store_has_one_owner_of_each_event() {
    schedules(|| {
        tokio::time::start(true);
        let store = moka_store().with_max_in_flight(2).build();
        shuttle::future::block_on(claim_and_settle(store));
    });
}

#[test]
fn compact_store_has_one_owner_of_each_event() {
    schedules(|| {
        tokio::time::start(true);
        let store = CompactStore::builder()
            .with_capacity(CAPACITY)
            .with_max_in_flight(2)
            .with_clock(TestClock)
            .build();
        shuttle::future::block_on(claim_and_settle(store));
    });
}

/// No timer ends: every delivery that waits is woken by the settlement or the drain that it waits for.
#[test]
fn every_waiting_delivery_is_woken() {
    schedules(|| {
        tokio::time::start(true);
        let store = moka_store().build();
        shuttle::future::block_on(run_schedule(store, Arc::default()));
    });
}

/// The store fails, is slow, and loses replies.
#[test]
fn failing_store_breaks_no_promise() {
    schedules(|| {
        tokio::time::start(false);
        let fails = Arc::new(AtomicBool::new(true));
        let store = moka_store().build();
        shuttle::future::block_on(run_schedule(FaultyStore { store, fails: Arc::clone(&fails) }, fails));
    });
}

/// No timer ends: no operation waits for a worker that nobody wakes.
#[test]
fn workers_answer_every_caller() {
    schedules(|| {
        tokio::time::start(true);
        shuttle::future::block_on(workers::run_schedule(false));
    });
}

/// Locked rows, a busy file, a server that cannot be reached, and timeouts.
#[test]
fn busy_database_breaks_no_promise() {
    schedules(|| {
        tokio::time::start(false);
        shuttle::future::block_on(workers::run_schedule(true));
    });
}
