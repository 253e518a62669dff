//! Random schedules: deliveries, duplicates, disconnects, failures of the store and of handlers, and drains,
//! in thousands of orders on one thread.
//!
//! Each step of the store, of a handler and of a client yields a random number of times, so that a seed
//! selects the order of all steps. Time is paused: a schedule that waits for ever ends at a timeout at once.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use roomz_tests::{rounds, secret};
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, IdempotencyStore, MokaStore, Owner, Settled, StoreError,
};
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Delivery, Skipped, WebhookBody, WebhookLayer};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use tower::{BoxError, Layer as _, Service, ServiceExt as _, service_fn};

const EVENTS: usize = 3;
const DELIVERIES: usize = 12;
/// Longer than anything that the layer waits for.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

/// The choices of one schedule.
#[derive(Clone)]
struct Choices(Arc<Mutex<StdRng>>);

impl Choices {
    fn one_in(&self, count: u32) -> bool {
        self.0.lock().unwrap().random_ratio(1, count)
    }

    fn below(&self, count: usize) -> usize {
        self.0.lock().unwrap().random_range(0..count)
    }

    /// Lets other tasks run.
    async fn step(&self) {
        for _ in 0..self.below(6) {
            yield_now().await;
        }
        if self.one_in(8) {
            sleep(Duration::from_millis(self.below(3_000) as u64)).await;
        }
    }
}

/// A store whose calls take long, fail, and lose their replies.
struct Unsteady {
    store: MokaStore,
    choices: Choices,
    fails: Arc<AtomicBool>,
}

impl Unsteady {
    async fn call<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        if !self.fails.load(SeqCst) {
            return call.await;
        }
        let fails = |one_in| self.fails.load(SeqCst) && self.choices.one_in(one_in);
        self.choices.step().await;
        if fails(10) {
            return Err(StoreError::unavailable("not called"));
        }
        let reply = call.await;
        self.choices.step().await;
        if fails(10) { Err(StoreError::unavailable("the reply was lost")) } else { reply }
    }
}

#[async_trait]
impl IdempotencyStore for Unsteady {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        self.call(self.store.claim(key, claim)).await
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.call(self.store.renew(key, owner, lease)).await
    }

    async fn complete(&self, key: &ClaimKey, owner: Owner, keep: Duration) -> Result<Settled, StoreError> {
        self.call(self.store.complete(key, owner, keep)).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.call(self.store.release(key, owner)).await
    }
}

/// What happened to one event.
#[derive(Default)]
struct History {
    running: AtomicUsize,
    succeeded: AtomicUsize,
}

struct Schedule {
    choices: Choices,
    events: Vec<(TestEvent, History)>,
    /// Whether the store and the handlers still fail.
    fails: Arc<AtomicBool>,
    drains: AtomicUsize,
    /// What must not happen. The layer catches a panic of a handler.
    violations: Mutex<Vec<&'static str>>,
}

impl Schedule {
    fn check(&self, is_kept: bool, violation: &'static str) {
        if !is_kept {
            self.violations.lock().unwrap().push(violation);
        }
    }

    /// The handler. It fails in one of three runs.
    async fn handle(&self, delivery: &Delivery) -> Result<StatusCode, BoxError> {
        self.check(self.drains.load(SeqCst) == 0, "a handler starts while a drain runs");
        let of_delivery = |(event, _): &&(TestEvent, _)| event.body() == **delivery.body();
        let (_, history) = self.events.iter().find(of_delivery).unwrap();
        self.check(history.running.fetch_add(1, SeqCst) == 0, "two handlers of one event run");
        self.check(history.succeeded.load(SeqCst) == 0, "an event runs again after it succeeded");
        self.choices.step().await;
        history.running.fetch_sub(1, SeqCst);
        match self.choices.below(6) {
            0 if self.fails.load(SeqCst) => Ok(StatusCode::INTERNAL_SERVER_ERROR),
            1 if self.fails.load(SeqCst) => Err("the handler fails".into()),
            _ => {
                history.succeeded.fetch_add(1, SeqCst);
                Ok(StatusCode::OK)
            }
        }
    }

    /// Delivers an event. Returns whether it was accepted.
    async fn deliver<S>(&self, receiver: S, number: usize) -> bool
    where
        S: Service<
                Request<Body>,
                Response = Response<roomz_webhook::ResponseBody<Full<Bytes>>>,
                Error = BoxError,
            >,
    {
        let (event, history) = &self.events[number];
        let Ok(response) = receiver.oneshot(event.request("/", &secret())).await else { return false };
        let is_duplicate = response.extensions().get() == Some(&Skipped::Duplicate);
        let succeeded = history.succeeded.load(SeqCst);
        self.check(succeeded == 1 || !response.status().is_success(), "accepted before a handler succeeded");
        self.check(!is_duplicate || succeeded == 1, "a duplicate of an event that is not done");
        response.status().is_success()
    }
}

async fn run(seed: u64) {
    let choices = Choices(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))));
    let fails = Arc::new(AtomicBool::new(true));
    let store = Unsteady { store: MokaStore::new(), choices: choices.clone(), fails: fails.clone() };
    let layer = WebhookLayer::builder(secret()).with_store(store).build().unwrap();
    let schedule = Arc::new(Schedule {
        choices: choices.clone(),
        events: (0..EVENTS).map(|_| (TestEvent::busy(), History::default())).collect(),
        fails: fails.clone(),
        drains: AtomicUsize::new(0),
        violations: Mutex::default(),
    });
    let of_handler = schedule.clone();
    let receiver = layer.layer(service_fn(move |request: Request<WebhookBody>| {
        let (schedule, delivery) =
            (of_handler.clone(), request.extensions().get::<Delivery>().cloned().unwrap());
        async move {
            let status = schedule.handle(&delivery).await?;
            let mut response = Response::new(Full::<Bytes>::default());
            *response.status_mut() = status;
            Ok::<_, BoxError>(response)
        }
    }));

    let mut clients = JoinSet::new();
    for _ in 0..DELIVERIES {
        let (schedule, receiver, choices) = (schedule.clone(), receiver.clone(), choices.clone());
        clients.spawn(async move {
            choices.step().await;
            let delivery = schedule.deliver(receiver, choices.below(EVENTS));
            if choices.one_in(4) {
                // The client disconnects.
                tokio::select! { biased; () = choices.step() => {}, _ = delivery => {} }
            } else {
                delivery.await;
            }
        });
    }
    if choices.one_in(3) {
        let (schedule, layer, choices) = (schedule.clone(), layer.clone(), choices.clone());
        clients.spawn(async move {
            choices.step().await;
            schedule.drains.fetch_add(1, SeqCst);
            layer.drain().await;
            schedule.drains.fetch_sub(1, SeqCst);
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    fails.store(false, SeqCst);
    layer.drain().await;
    // Nothing is left of the claims: each event succeeds at once, or it was done.
    for (number, (_, history)) in schedule.events.iter().enumerate() {
        schedule.check(schedule.deliver(receiver.clone(), number).await, "an event is blocked");
        schedule.check(history.succeeded.load(SeqCst) == 1, "an event succeeded never, or twice");
    }
    let violations = schedule.violations.lock().unwrap();
    assert!(violations.is_empty(), "{violations:?}");
}

#[test]
fn random_schedules_keep_promises() {
    let first = rand::random::<u32>().into();
    for seed in first..first + rounds(500, 200_000) as u64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let run = async { timeout(FOR_EVER, run(seed)).await.expect("the schedule ends") };
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.unwrap().block_on(run)));
        assert!(ended.is_ok(), "seed {seed}");
    }
}
