//! The latest presence of each workspace, and its changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::database::{TestDatabase, databases};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use roomz_sql::{PresencePoint, PresenceTable};
use roomz_tests::rounds;
use roomz_webhook::roomz_protocol::Uuid;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{
    Event, Latest, LatestOutcome, PresenceStatus, Timestamp, WorkspaceId, WorkspacePresenceChanged,
};
use tokio::sync::Barrier;

pub(crate) type PresenceEvent = Event<WorkspacePresenceChanged>;

fn workspace(number: u128) -> WorkspaceId {
    Uuid::from_u128(number).into()
}

pub(crate) fn event(number: u128, seconds: i64, status: &str) -> PresenceEvent {
    let timestamp = Timestamp::from_second(seconds).unwrap();
    let event = TestEvent::presence(status).with_workspace_id(workspace(number)).with_timestamp(timestamp);
    Event::parse(&event.body()).unwrap().typed().unwrap()
}

/// Applies an event in a transaction of its own.
pub(crate) async fn apply(
    database: &TestDatabase,
    table: &PresenceTable,
    event: &PresenceEvent,
) -> LatestOutcome {
    let mut transaction = database.begin().await;
    let outcome = transaction.apply(table, event).await;
    transaction.commit().await;
    outcome
}

/// Follows the changes, as an instance of a receiver does.
#[derive(Default)]
pub(crate) struct Follower {
    point: PresencePoint,
    seen: BTreeMap<WorkspaceId, PresenceStatus>,
    pub(crate) snapshots: usize,
}

impl Follower {
    /// Reads the changes once. Returns the workspaces that changed, or changed some time ago.
    async fn poll(&mut self, database: &TestDatabase, table: &PresenceTable) -> BTreeSet<u128> {
        let changes = database.changes_since(table, self.point).await;
        self.point = changes.next;
        if changes.is_snapshot {
            self.snapshots += 1;
            self.seen.clear();
        }
        let numbers = changes.workspaces.iter().map(|changed| changed.workspace_id.as_uuid().as_u128());
        let numbers = numbers.collect();
        self.seen
            .extend(changes.workspaces.into_iter().map(|changed| (changed.workspace_id, changed.status)));
        numbers
    }

    /// Reads the changes until there are none. PostgreSQL repeats changes while an older transaction runs,
    /// here of another test.
    pub(crate) async fn poll_all(&mut self, database: &TestDatabase, table: &PresenceTable) {
        while !self.poll(database, table).await.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// What was seen, in the order of the workspaces.
    pub(crate) fn seen(&self) -> Vec<(u128, &str)> {
        self.seen.iter().map(|(id, status)| (id.as_uuid().as_u128(), status.as_str())).collect()
    }
}

/// Random events with many equal timestamps, ids and duplicates, in random order.
#[tokio::test]
async fn equals_latest_for_any_order() {
    for database in databases().await {
        for seed in 0..rounds(10, 300) as u64 {
            let mut random = StdRng::seed_from_u64(seed);
            let table = PresenceTable::new(format!("seed {seed}"));
            let mut expected: HashMap<WorkspaceId, Latest<PresenceStatus>> = HashMap::new();
            let mut events: Vec<_> = (0..40).map(|_| random_event(&mut random)).collect();
            events.extend_from_within(..20);
            events.shuffle(&mut random);
            for some in events.chunks(10) {
                let mut transaction = database.begin().await;
                for event in some {
                    let latest = expected.entry(event.data.workspace_id).or_default();
                    let outcome = latest.apply(event.id, event.timestamp, event.data.presence_status.clone());
                    assert_eq!(transaction.apply(&table, event).await, outcome, "seed {seed}: {event:?}");
                }
                transaction.commit().await;
            }
            let kept = database.presence(&table).await;
            assert_eq!(kept.len(), expected.len());
            for kept in kept {
                let mut latest = Latest::new();
                latest.apply(kept.event_id, kept.timestamp, kept.status);
                assert_eq!(expected.get(&kept.workspace_id), Some(&latest), "seed {seed}");
            }
        }
    }
}

/// A row from the future is repaired by the next event, with or without a restart.
#[tokio::test]
async fn event_from_future_hides_no_later_arrival() {
    for database in databases().await {
        let table = PresenceTable::default();
        let at = |id, seconds, status| {
            let mut event = event(1, seconds, status);
            event.id = Uuid::from_u128(id).into();
            event
        };
        let (now, year_2099) = (Timestamp::now().as_second(), 4_070_908_800);
        let minute = 60;
        for (event, outcome) in [
            (at(9, year_2099, "Busy"), LatestOutcome::Newest),
            (at(9, year_2099, "Busy"), LatestOutcome::Duplicate),
            (at(8, year_2099 - minute, "Busy"), LatestOutcome::Newest),
            (at(1, now - 60 * minute, "Free"), LatestOutcome::Newest),
            (at(2, now + 3 * minute, "Busy"), LatestOutcome::Newest),
            (at(3, now, "Free"), LatestOutcome::Late),
        ] {
            assert_eq!(apply(&database, &table, &event).await, outcome, "{event:?}");
        }
    }
}

fn random_event(random: &mut StdRng) -> PresenceEvent {
    let status = ["Free", "Busy", "Offline", "", "'; DROP TABLE roomz_presence; --", "Ünïcode 🪑"];
    // Before and after 1970, with equal seconds and equal fractions.
    let timestamp = match random.random_range(0..10) {
        0 => Timestamp::MIN,
        1 => Timestamp::MAX,
        _ => {
            let seconds = i128::from(random.random_range(-2..=2));
            let nanos = seconds * 1_000_000_000 + [0, 1, 999_999_999].choose(random).unwrap();
            Timestamp::from_nanosecond(nanos).unwrap()
        }
    };
    let mut event = event(random.random_range(0..3), 0, status.choose(random).unwrap());
    event.timestamp = timestamp;
    event.id = Uuid::from_u128(*[0, 1, 1 << 127, u128::MAX].choose(random).unwrap()).into();
    event
}

/// PostgreSQL cannot store the character.
#[tokio::test]
async fn replaces_nul_in_status() {
    for database in databases().await {
        let table = PresenceTable::default();
        assert_eq!(apply(&database, &table, &event(1, 1, "A\0\0B")).await, LatestOutcome::Newest);
        let kept = database.presence(&table).await.remove(0);
        assert_eq!(kept.status.as_str(), "A\u{fffd}\u{fffd}B");
    }
}

#[tokio::test]
async fn keeps_long_status() {
    for database in databases().await {
        let (table, status) = (PresenceTable::default(), "x".repeat(250_000));
        apply(&database, &table, &event(1, 1, &status)).await;
        assert_eq!(database.presence(&table).await.remove(0).status.as_str(), status);
    }
}

#[tokio::test]
async fn separates_namespaces() {
    for database in databases().await {
        let (staging, production) = (PresenceTable::new("staging"), PresenceTable::new("production"));
        let (mut of_staging, mut of_production) = (Follower::default(), Follower::default());
        apply(&database, &staging, &event(1, 2, "Busy")).await;
        assert_eq!(apply(&database, &production, &event(1, 1, "Free")).await, LatestOutcome::Newest);
        of_staging.poll_all(&database, &staging).await;
        of_production.poll_all(&database, &production).await;
        assert_eq!((of_staging.seen(), of_production.seen()), (vec![(1, "Busy")], vec![(1, "Free")]));
        apply(&database, &staging, &event(1, 3, "Offline")).await;
        of_production.poll_all(&database, &production).await;
        assert_eq!(of_production.seen(), [(1, "Free")]);
        assert_eq!(database.presence(&PresenceTable::default()).await, []);
    }
}

#[tokio::test]
async fn reports_changes_until_they_are_read() {
    for database in databases().await {
        let (table, mut follower) = (PresenceTable::default(), Follower::default());
        assert!(follower.poll(&database, &table).await.is_empty());
        apply(&database, &table, &event(1, 1, "Busy")).await;
        apply(&database, &table, &event(2, 1, "Busy")).await;
        follower.poll_all(&database, &table).await;
        assert_eq!(follower.seen(), [(1, "Busy"), (2, "Busy")]);
        // A late event, a change that is rolled back, and a workspace that changes several times.
        apply(&database, &table, &event(1, 0, "Free")).await;
        let mut transaction = database.begin().await;
        transaction.apply(&table, &event(1, 9, "Free")).await;
        transaction.rollback().await;
        for second in 2..5 {
            apply(&database, &table, &event(2, second, &format!("status {second}"))).await;
        }
        follower.poll_all(&database, &table).await;
        assert_eq!(follower.seen(), [(1, "Busy"), (2, "status 4")]);
    }
}

/// Transactions commit in another order than they began. In between, the changes are read.
#[tokio::test]
async fn follows_commits_in_other_order() {
    let Some(database) = TestDatabase::postgres_or_skip().await else { return };
    let (table, mut follower) = (PresenceTable::default(), Follower::default());
    let mut first = database.begin().await;
    first.apply(&table, &event(1, 1, "Busy")).await;
    let mut second = database.begin().await;
    second.apply(&table, &event(2, 1, "Busy")).await;
    second.commit().await;
    assert_eq!(follower.poll(&database, &table).await, BTreeSet::from([2]));
    apply(&database, &table, &event(3, 1, "Busy")).await;
    // The first transaction still runs, so the change is reported again.
    assert_eq!(follower.poll(&database, &table).await, BTreeSet::from([2, 3]));
    // It began before the change of the third workspace, and changes it again.
    first.apply(&table, &event(3, 2, "Free")).await;
    first.commit().await;
    follower.poll_all(&database, &table).await;
    assert_eq!(follower.seen(), [(1, "Busy"), (2, "Busy"), (3, "Free")]);
}

/// Each workspace changes once, so a change that is skipped stays unseen.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_writers_lose_no_change() {
    const WRITERS: u128 = 8;
    const ROUNDS: u128 = 60;
    for database in databases().await {
        let table = PresenceTable::default();
        let finished = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn({
            let (database, table, finished) = (database.clone(), table.clone(), Arc::clone(&finished));
            async move {
                let mut follower = Follower::default();
                while !finished.load(Ordering::SeqCst) {
                    follower.poll(&database, &table).await;
                }
                follower.poll(&database, &table).await;
                follower
            }
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (database, table) = (database.clone(), table.clone());
                let mut random = StdRng::seed_from_u64(u64::try_from(writer).unwrap());
                tokio::spawn(async move {
                    for round in 0..ROUNDS {
                        let number = writer * ROUNDS + round;
                        let mut transaction = database.begin().await;
                        transaction.apply(&table, &event(number, 1, "Busy")).await;
                        for _ in 0..random.random_range(0..20) {
                            tokio::task::yield_now().await;
                        }
                        if random.random_bool(0.1) {
                            transaction.rollback().await;
                        } else {
                            transaction.commit().await;
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        finished.store(true, Ordering::SeqCst);
        let seen = reader.await.unwrap().seen;
        let kept = database.presence(&table).await;
        let missing: Vec<_> = kept.iter().filter(|kept| !seen.contains_key(&kept.workspace_id)).collect();
        assert!(missing.is_empty(), "{} of {} changes were skipped", missing.len(), kept.len());
        assert_eq!(seen.len(), kept.len());
    }
}

/// The newest row is deleted. The next row must not get its number.
#[tokio::test]
async fn deleted_row_hides_no_change() {
    for database in databases().await {
        let (table, mut follower) = (PresenceTable::default(), Follower::default());
        apply(&database, &table, &event(1, 1, "Busy")).await;
        apply(&database, &table, &event(2, 1, "Busy")).await;
        follower.poll_all(&database, &table).await;
        database.execute("DELETE FROM roomz_presence").await;
        apply(&database, &table, &event(3, 1, "Busy")).await;
        assert_eq!(apply(&database, &table, &event(1, 0, "Free")).await, LatestOutcome::Newest);
        follower.poll_all(&database, &table).await;
        assert_eq!(follower.seen(), [(1, "Free"), (2, "Busy"), (3, "Busy")]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_events_keep_newest() {
    const EVENTS: i64 = 64;
    for database in databases().await {
        for _ in 0..5 {
            let (table, barrier) = (PresenceTable::default(), Arc::new(Barrier::new(64)));
            let mut seconds: Vec<_> = (0..EVENTS).collect();
            seconds.shuffle(&mut rand::rng());
            let all: Vec<_> = seconds
                .into_iter()
                .map(|second| {
                    let (database, table, barrier) = (database.clone(), table.clone(), Arc::clone(&barrier));
                    let status = format!("status {second}");
                    tokio::spawn(async move {
                        barrier.wait().await;
                        apply(&database, &table, &event(1, second, &status)).await
                    })
                })
                .collect();
            for one in all {
                one.await.unwrap();
            }
            let kept = database.presence(&table).await;
            assert_eq!((kept.len(), kept[0].status.as_str()), (1, "status 63"));
            database.execute("DELETE FROM roomz_presence").await;
        }
    }
}
