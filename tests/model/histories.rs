//! Histories of the real stores: every call with its reply and its interval. Some order of the calls must
//! explain all replies by the [rule](super::rule) of a claim.
//!
//! Events are independent, so each has a history of its own. Its callers use two instances of the store at
//! once, while the server is killed, stopped and stalled. A call that failed may have taken effect or not,
//! and one that lasted for the time of a restart may have taken effect twice.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use roomz_redis::RedisStore;
use roomz_sql::SqlStore;
use roomz_tests::{few_at_a_time, rounds};
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, MokaStore, Owner, Settled,
    StoreError, async_trait,
};
use tokio::sync::Barrier;
use tokio::time::sleep;

use super::report;
use super::rule::{Call, Event, Lease, Moment, Reply, Without};
use crate::faults::backend::{Backend, Postgres, Redis, ServerFault, Sqlite};

const CALLERS: usize = 4;
const CALLS: usize = 4;
const RETENTION: Duration = Duration::from_secs(3600);
/// All times are in nanoseconds.
const SHORT_LEASE: u64 = 10_000_000;
const LONG_LEASE: u64 = 600_000_000_000;
/// A store has a resolution of one millisecond, and its clock is not ours.
const TOLERANCE: u64 = 2_000_000;
const MAX_TRIED: usize = 20_000;
/// A server that was killed is away for longer.
const REPEATED_AFTER: u64 = 100_000_000;

#[derive(Clone, Copy, Debug)]
struct Record {
    owner: u8,
    call: Call,
    begin: u64,
    /// The latest time at which it took effect.
    end: u64,
    /// `None`: it may have taken effect or not.
    reply: Option<Reply>,
}

/// Whether some order of the calls explains the replies: a call that ended before another began comes first.
///
/// Tries each order, and each state of the event after the same calls once. `None` after `MAX_TRIED` states:
/// many calls with an unknown effect have too many orders.
fn is_explained(history: &[Record]) -> Option<bool> {
    let replied = |record: &&Record| record.reply.is_some();
    let mut reached = HashSet::from([(0_u64, Event::default())]);
    let mut open = Vec::from_iter(reached.clone());
    while let Some((done, event)) = open.pop() {
        if reached.len() > MAX_TRIED {
            return None;
        }
        let left = || history.iter().enumerate().filter(|(index, _)| done & (1 << index) == 0);
        let Some(first_end) = left().map(|(_, record)| record).filter(replied).map(|record| record.end).min()
        else {
            return Some(true);
        };
        for (index, record) in left().filter(|(_, record)| record.begin < first_end) {
            let moment = Moment { begin: record.begin, end: record.end };
            for (reply, after) in event.replies(record.owner, record.call, moment, Without::Nothing) {
                let after = if after == event { after } else { tolerant(after) };
                let next = (done | (1 << index), after);
                if record.reply.is_none_or(|seen| seen == reply) && reached.insert(next) {
                    open.push(next);
                }
            }
        }
    }
    Some(false)
}

fn tolerant(event: Event) -> Event {
    match event {
        Event::Running { owner, attempt, lease: Lease { earliest, latest } } => {
            let lease = Lease {
                earliest: earliest.saturating_sub(TOLERANCE),
                latest: latest.saturating_add(TOLERANCE),
            };
            Event::Running { owner, attempt, lease }
        }
        other => other,
    }
}

/// The time in nanoseconds. No two are the same, so that they tell which call came first.
fn now() -> u64 {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    static LAST: AtomicU64 = AtomicU64::new(0);
    let time = u64::try_from(EPOCH.elapsed().as_nanos()).unwrap();
    let after = |last: u64| time.max(last + 1);
    after(LAST.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(after(last))).unwrap())
}

/// One caller of one event: deliveries that claim, renew and settle, or do not.
struct Caller {
    store: Arc<dyn IdempotencyStore>,
    key: ClaimKey,
    number: u8,
    history: Vec<Record>,
}

impl Caller {
    /// The number of the owner of a delivery is unique in the history.
    async fn call(&mut self, delivery: u8, call: Call) -> Option<Reply> {
        let owner_number = self.number * 16 + delivery;
        let owner = Owner::from_bytes([owner_number + 1; 16]);
        let begin = now();
        let result = match call {
            Call::Claim { lease } => {
                let lease = Duration::from_nanos(lease);
                let request = ClaimRequest::new(owner, Fingerprint::of(b"{}"), lease, RETENTION);
                self.store.claim(&self.key, &request).await.map(|claim| match claim.state {
                    ClaimState::Claimed { attempt, .. } => Reply::Claimed(attempt),
                    ClaimState::InFlight { .. } => Reply::InFlight,
                    ClaimState::Done => Reply::Done,
                })
            }
            Call::Renew { lease } => {
                self.store.renew(&self.key, owner, Duration::from_nanos(lease)).await.map(reply)
            }
            Call::Complete => self.store.complete(&self.key, owner, RETENTION).await.map(reply),
            Call::Release => self.store.release(&self.key, owner).await.map(reply),
        };
        let (reply, end) = (result.ok(), now());
        let record = Record { owner: owner_number, call, begin, end, reply };
        // A store may repeat a call whose connection broke, after others had their turn.
        if reply.is_some() && end - begin > REPEATED_AFTER {
            self.history.push(Record { reply: None, ..record });
        }
        self.history.push(Record { end: if reply.is_some() { end } else { u64::MAX }, ..record });
        reply
    }

    async fn run(mut self) -> Vec<Record> {
        let lease = |is_short| if is_short { SHORT_LEASE } else { LONG_LEASE };
        let (mut delivery, mut holds) = (0, false);
        for _ in 0..CALLS {
            let [is_short, other] = rand::rng().random::<[bool; 2]>();
            let choice = rand::rng().random_range(0..6);
            let call = match choice {
                0 if holds => Call::Renew { lease: lease(is_short) },
                1 | 2 if holds => Call::Release,
                3 if holds => Call::Complete,
                _ if !holds || other => Call::Claim { lease: lease(is_short) },
                // It sleeps longer than a short lease, and settles late.
                _ => {
                    sleep(Duration::from_millis(12)).await;
                    Call::Complete
                }
            };
            if matches!(call, Call::Claim { .. }) && rand::rng().random_range(0..4) > 0 {
                delivery += 1;
            }
            let mut reply = self.call(delivery, call).await;
            if reply.is_none() {
                reply = self.call(delivery, call).await;
            }
            holds =
                matches!(reply, Some(Reply::Claimed(_) | Reply::Lost)) || (holds && call != Call::Release);
        }
        self.history
    }
}

fn reply(settled: Settled) -> Reply {
    match settled {
        Settled::Applied => Reply::Applied,
        Settled::Lost => Reply::Lost,
    }
}

#[derive(Default)]
struct Checked {
    calls: usize,
    /// Events whose history has too many orders.
    undecided: usize,
    /// The calls of one event that no order explains.
    unexplained: Option<Vec<Record>>,
}

/// Checks the histories of `events` events.
async fn check(stores: [Arc<dyn IdempotencyStore>; 2], events: usize) -> Checked {
    let mut checked = Checked::default();
    for _ in 0..events {
        let key = ClaimKey::new("histories".into(), roomz_protocol::Uuid::from_u128(rand::random()).into());
        let start = Arc::new(Barrier::new(CALLERS));
        let callers = (0..CALLERS).map(|number| {
            let caller = Caller {
                store: Arc::clone(&stores[number % 2]),
                key: key.clone(),
                number: u8::try_from(number).unwrap(),
                history: Vec::new(),
            };
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                caller.run().await
            })
        });
        let mut history = Vec::new();
        for caller in callers.collect::<Vec<_>>() {
            history.extend(caller.await.unwrap());
        }
        checked.calls += history.len();
        match is_explained(&history) {
            Some(true) => {}
            Some(false) => {
                checked.unexplained = Some(history);
                break;
            }
            None => checked.undecided += 1,
        }
    }
    checked
}

/// Several tasks check events, while the faults come one after the other.
async fn check_under_faults<B: Backend + 'static>(faults: &[ServerFault]) {
    let Some(mut backend) = B::start() else { return };
    let _permit = few_at_a_time().await;
    let url = backend.url(None);
    let stores = [connect(&url).await, connect(&url).await];
    let is_over = Arc::new(AtomicBool::new(false));
    let [calls, undecided] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let target = rounds(8_000, 1_000_000);
    let tasks = [(); 8].map(|()| {
        let (stores, is_over) = (stores.clone(), Arc::clone(&is_over));
        let (calls, undecided) = (Arc::clone(&calls), Arc::clone(&undecided));
        tokio::spawn(async move {
            while calls.load(Ordering::Relaxed) < target || !is_over.load(Ordering::Relaxed) {
                let checked = check(stores.clone(), 10).await;
                calls.fetch_add(checked.calls, Ordering::Relaxed);
                undecided.fetch_add(checked.undecided, Ordering::Relaxed);
                assert!(checked.unexplained.is_none(), "no order explains {:#?}", checked.unexplained);
            }
        })
    });
    for fault in faults.iter().cycle().take(rounds(faults.len(), 40)) {
        sleep(Duration::from_millis(500)).await;
        let duration = Duration::from_millis(300);
        backend.begin(*fault, duration);
        sleep(duration).await;
        backend.end(*fault);
    }
    is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let [calls, undecided] = [calls, undecided].map(|count| count.load(Ordering::Relaxed));
    report(&format!("{}: {calls} calls, {undecided} events undecided", B::NAME));
}

async fn connect(url: &str) -> Arc<dyn IdempotencyStore> {
    if url.starts_with("redis") {
        Arc::new(RedisStore::connect(url).await.unwrap())
    } else {
        Arc::new(SqlStore::connect(url).await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_histories_are_explained() {
    check_under_faults::<Postgres>(&[ServerFault::Killed, ServerFault::Stopped, ServerFault::StallsClients])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_histories_are_explained() {
    check_under_faults::<Redis>(&[ServerFault::Killed, ServerFault::Stopped, ServerFault::StallsClients])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_histories_are_explained() {
    check_under_faults::<Sqlite>(&[ServerFault::StallsClients]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_histories_are_explained() {
    let store: Arc<dyn IdempotencyStore> = Arc::new(MokaStore::new());
    let checked = check([Arc::clone(&store), store], rounds(1_000, 62_500)).await;
    assert!(checked.unexplained.is_none(), "no order explains {:#?}", checked.unexplained);
    assert_eq!(checked.undecided, 0);
    report(&format!("memory: {} calls", checked.calls));
}

/// A store that settles for anybody: it forgets to compare the owner.
#[derive(Debug)]
struct SettlesForAnybody {
    inner: MokaStore,
    owners: Mutex<HashMap<ClaimKey, Owner>>,
}

impl SettlesForAnybody {
    fn owner(&self, key: &ClaimKey, owner: Owner) -> Owner {
        self.owners.lock().unwrap().get(key).copied().unwrap_or(owner)
    }
}

#[async_trait]
impl IdempotencyStore for SettlesForAnybody {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let claimed = self.inner.claim(key, claim).await?;
        if matches!(claimed.state, ClaimState::Claimed { .. }) {
            self.owners.lock().unwrap().insert(key.clone(), claim.owner);
        }
        Ok(claimed)
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.inner.renew(key, self.owner(key, owner), lease).await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        self.inner.complete(key, self.owner(key, owner), retention).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.inner.release(key, self.owner(key, owner)).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_of_store_without_owner_check_is_not_explained() {
    let store = SettlesForAnybody { inner: MokaStore::new(), owners: Mutex::default() };
    let store: Arc<dyn IdempotencyStore> = Arc::new(store);
    assert!(check([Arc::clone(&store), store], 1_000).await.unexplained.is_some());
}
