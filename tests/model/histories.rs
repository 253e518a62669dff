//! Histories of the real stores: every call with its reply and its interval. Some order of the calls must
//! explain all replies by the [rule](super::rule) of a claim.
//!
//! Events are independent, so each has a history of its own. Its callers use two instances of the store at
//! once, while the server is killed, stopped and stalled, its clock is set, or a replica takes over. A call
//! that failed may have taken effect or not, and one that lasted for the time of a restart may have taken
//! effect twice.

use std::collections::HashMap;
use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use roomz_redis::RedisStore;
use roomz_sql::SqlStore;
use roomz_tests::{RedisCluster, Server, few_at_a_time, poll, rounds};
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, MokaStore, Owner, Settled,
    StoreError, async_trait,
};
use tokio::sync::Barrier;
use tokio::time::sleep;

use super::explain::{Record, Timeline, interval, is_explained, now};
use super::report;
use super::rule::{Call, Moment, Reply};
use crate::faults::backend::{Backend, Cluster, Postgres, Redis, ServerFault, Sqlite};

const CALLERS: usize = 4;
const CALLS: usize = 4;
/// Longer than a clock is set forward: after the retention, an event is forgotten.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
/// All times are in nanoseconds.
const SHORT_LEASE: u64 = 10_000_000;
const LONG_LEASE: u64 = 600_000_000_000;
/// A server that was killed is away for longer.
const REPEATED_AFTER: u64 = 100_000_000;
/// A clock is set to this many seconds ahead of ours.
const AHEAD: [i64; 8] = [-7_200, -60, -2, 0, 0, 2, 60, 7_200];

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
    /// Events whose history is explained only because the clock was set, or a replica took over.
    disturbed: usize,
    /// The calls of one event that no order explains.
    unexplained: Option<Vec<Record>>,
}

/// Checks the histories of `events` events.
async fn check(stores: [Arc<dyn IdempotencyStore>; 2], events: usize, timeline: &Timeline) -> Checked {
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
        match is_explained(&history, timeline) {
            Some(true) => {}
            Some(false) => {
                checked.unexplained = Some(history);
                break;
            }
            None => checked.undecided += 1,
        }
        let (begin, end) = interval(&history);
        let [least, most] = timeline.ahead(begin, end);
        let is_disturbed = least != most || !timeline.failovers(begin, end).is_empty();
        if is_disturbed && is_explained(&history, &Timeline::default()) == Some(false) {
            checked.disturbed += 1;
        }
    }
    checked
}

/// Several tasks check events until there are enough and `disturbance` is over. Returns the number of
/// [disturbed](Checked::disturbed) events.
async fn check_during(
    name: &str,
    stores: [Arc<dyn IdempotencyStore>; 2],
    timeline: &Arc<Timeline>,
    disturbance: impl Future,
) -> usize {
    let is_over = Arc::new(AtomicBool::new(false));
    let counts: [_; 4] = Default::default();
    let counts = Arc::<[AtomicUsize; 4]>::new(counts);
    let (target, start) = (rounds(8_000, 1_000_000), Instant::now());
    let tasks = [(); 8].map(|()| {
        let (stores, is_over) = (stores.clone(), Arc::clone(&is_over));
        let (counts, timeline) = (Arc::clone(&counts), Arc::clone(timeline));
        tokio::spawn(async move {
            while counts[0].load(Ordering::Relaxed) < target || !is_over.load(Ordering::Relaxed) {
                let checked = check(stores.clone(), 10, &timeline).await;
                assert!(checked.unexplained.is_none(), "no order explains {:#?}", checked.unexplained);
                let more = [checked.calls, 10, checked.undecided, checked.disturbed];
                for (count, more) in counts.iter().zip(more) {
                    count.fetch_add(more, Ordering::Relaxed);
                }
            }
        })
    });
    let _ = disturbance.await;
    is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let [calls, events, undecided, disturbed] =
        [0, 1, 2, 3].map(|index| counts[index].load(Ordering::Relaxed));
    report(&format!(
        "{name}: {calls} calls of {events} events in {:.0} s, {undecided} events undecided, {disturbed} disturbed",
        start.elapsed().as_secs_f64()
    ));
    disturbed
}

/// The faults come one after the other.
async fn check_under_faults<B: Backend + 'static>(faults: &[ServerFault]) {
    let Some(mut backend) = B::start() else { return };
    let _permit = few_at_a_time().await;
    let stores = connect_twice(&backend.url(None)).await;
    let disturbance = async {
        for fault in faults.iter().cycle().take(rounds(faults.len(), 40)) {
            sleep(Duration::from_millis(500)).await;
            let duration = Duration::from_millis(300);
            backend.begin(*fault, duration);
            sleep(duration).await;
            backend.end(*fault);
        }
    };
    check_during(B::NAME, stores, &Arc::default(), disturbance).await;
}

/// The clock of the server is set forward and back, by seconds and hours, also while it is down.
async fn check_while_clock_is_set(name: &str, server: Option<Server>, url: impl Fn(&Server) -> String) {
    let Some(mut server) = server.and_then(Server::with_own_clock_or_skip) else { return };
    let _permit = few_at_a_time().await;
    let (stores, timeline) = (connect_twice(&url(&server)).await, Arc::<Timeline>::default());
    let disturbance = async {
        for step in 1..=rounds(100, 10_000) {
            sleep(Duration::from_millis(rand::random_range(5..30))).await;
            let is_down = step % 50 == 0;
            if is_down {
                server.kill();
            }
            timeline.set_clock(&server, AHEAD[rand::random_range(0..AHEAD.len())]);
            if is_down {
                server.restart();
            }
        }
    };
    let disturbed = check_during(name, stores, &timeline, disturbance).await;
    assert!(disturbed > 0, "the clock made no difference");
}

async fn connect_twice(url: &str) -> [Arc<dyn IdempotencyStore>; 2] {
    [connect(url).await, connect(url).await]
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
async fn redis_cluster_histories_are_explained() {
    check_under_faults::<Cluster>(&[ServerFault::Killed, ServerFault::Stopped, ServerFault::StallsClients])
        .await;
}

/// A replica takes over from a killed master, again and again. What the killed master had not replicated is
/// lost, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_cluster_histories_with_failovers_are_explained() {
    let Some(mut cluster) = RedisCluster::start_or_skip(&["--appendonly", "yes"]) else { return };
    let _permit = few_at_a_time().await;
    let (stores, timeline) = (connect_twice(&cluster.url()).await, Arc::<Timeline>::default());
    let disturbance = async {
        for round in 0..rounds(2, 40) {
            sleep(Duration::from_millis(500)).await;
            let pair = [round % 3, round % 3 + 3];
            let [master, replica] =
                if cluster.nodes[pair[0]].is_redis_master() { pair } else { [pair[1], pair[0]] };
            let begin = now();
            timeline.failovers.lock().unwrap().push(Moment { begin, end: u64::MAX });
            cluster.nodes[master].kill();
            poll("the new master", || cluster.nodes[replica].is_redis_master());
            timeline.failovers.lock().unwrap()[round].end = now();
            cluster.nodes[master].restart();
            poll("the new replica", || cluster.nodes[master].is_synchronised_replica());
            cluster.wait_until_ready();
        }
    };
    check_during("redis-cluster, failovers", stores, &timeline, disturbance).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_histories_are_explained_while_clock_is_set() {
    let server = Server::redis_or_skip(&["--appendonly", "yes", "--appendfsync", "always"]);
    let url = |server: &Server| format!("redis://{}", server.address());
    check_while_clock_is_set("redis, clock set", server, url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_histories_are_explained_while_clock_is_set() {
    let server = Server::postgres_or_skip(&["fsync=on"]);
    check_while_clock_is_set("postgres, clock set", server, Server::postgres_url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_histories_are_explained() {
    check_under_faults::<Sqlite>(&[ServerFault::StallsClients]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_histories_are_explained() {
    let store: Arc<dyn IdempotencyStore> = Arc::new(MokaStore::new());
    check_during("memory", [Arc::clone(&store), store], &Arc::default(), ready(())).await;
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
    let checked = check([Arc::clone(&store), store], 1_000, &Timeline::default()).await;
    assert!(checked.unexplained.is_some());
}
