//! Random operations on a queue, and the rule that they follow.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic in its helpers")]

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use roomz_sql::db::connect::connect;
use roomz_sql::db::dialect::Dialect;
use roomz_sql::db::settings::Settings;
use roomz_sql::db::statement::Statement;
use roomz_sql::db::value::{Row, Value};
use roomz_webhook::roomz_protocol::Uuid;
use roomz_webhook::store::{ClaimKey, Owner};
use sqlx::Connection as _;
use tokio::task::JoinSet;

use crate::entry::InboxStats;
use crate::queue::row::{TakenEvent, key, text};
use crate::queue::scan::last;
use crate::queue::statements::{DEAD, DONE, RUNNING, WAITING};
use crate::queue::{OwnerUpdate, Queue};

const MINUTE: i64 = 60_000;
const HOUR: Duration = Duration::from_secs(60 * 60);
const LEASE: Duration = HOUR;
const PAUSE: Duration = Duration::from_secs(3 * 60 * 60);
const RETENTION: Duration = Duration::from_secs(10 * 60 * 60);
/// Less than any of the times above, and more than the test takes.
const SLACK: i64 = 20 * MINUTE;

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
struct Event {
    state: i64,
    due: i64,
    received: i64,
    owner: Vec<u8>,
    attempt: u32,
    earlier: u32,
    body: Vec<u8>,
    error: Option<String>,
    traceparent: Option<String>,
}

impl Event {
    fn from_row(row: &Row) -> Self {
        let attempts = |column| u32::try_from(row.number(column).unwrap()).unwrap();
        Self {
            state: row.number(2).unwrap(),
            due: row.number(3).unwrap(),
            received: row.number(4).unwrap(),
            owner: row.bytes(5).unwrap().to_vec(),
            attempt: attempts(6),
            earlier: attempts(7),
            body: row.bytes(8).unwrap().to_vec(),
            error: text(row, 9).unwrap(),
            traceparent: text(row, 10).unwrap(),
        }
    }

    /// Changes the row as the owner's update does, if it may. The new `due` is relative to now.
    fn update(&mut self, owner: Owner, attempts: u32, update: OwnerUpdate<'_>) -> bool {
        let (state, due, error) = match update {
            OwnerUpdate::Renew { lease } => (RUNNING, lease, None),
            OwnerUpdate::Complete { retention } => (DONE, retention, None),
            OwnerUpdate::RetryAfter { pause, error } => (WAITING, pause, Some(error)),
            OwnerUpdate::Dead { retention, error } => (DEAD, retention, Some(error)),
            OwnerUpdate::GiveBack => (WAITING, Duration::ZERO, None),
        };
        if self.owner != owner.to_bytes() || ![RUNNING, state].contains(&self.state) {
            return false;
        }
        if self.state == DONE {
            self.earlier = attempts;
        } else {
            self.due = i64::try_from(due.as_millis()).unwrap();
        }
        (self.state, self.attempt) = (state, attempts);
        self.error = if state == DONE { None } else { error.map(str::to_owned).or(self.error.take()) };
        true
    }
}

type Events = BTreeMap<(String, u128), Event>;

fn id(key: &ClaimKey) -> (String, u128) {
    (key.namespace().to_owned(), key.id().as_uuid().as_u128())
}

/// Returns the rows, and the time of the database.
async fn read(queue: &Queue, all: &'static Statement) -> (Events, i64) {
    let rows = queue.execute(all, Vec::new()).await.unwrap();
    let now = queue.execute(&queue.statements.now, Vec::new()).await.unwrap();
    let event = |row: &Row| (id(&key(row).unwrap()), Event::from_row(row));
    (rows.iter().map(event).collect(), now.first().unwrap().number(0).unwrap())
}

/// Compares the rows with those of the model, whose new times are relative to now.
fn compare(found: &Events, model: &Events, before: &Events, now: i64, step: &str) {
    assert_eq!(found.keys().collect::<Vec<_>>(), model.keys().collect::<Vec<_>>(), "{step}");
    for (id, model) in model {
        let (found, mut expected) = (&found[id], model.clone());
        if before.get(id).is_none_or(|before| before.due != model.due) {
            let longest = if model.state == RUNNING { model.due.max(model.due * 3 / 2) } else { model.due };
            let due = now - SLACK + model.due..=now + longest;
            assert!(due.contains(&found.due), "{step}: {id:?}: {found:?}, {due:?}");
            expected.due = found.due;
        }
        if !before.contains_key(id) {
            assert!((now - SLACK..=now).contains(&found.received), "{step}: {found:?}");
            expected.received = found.received;
        }
        assert_eq!(*found, expected, "{step}: {id:?}");
    }
}

fn stats<'a>(events: impl Iterator<Item = &'a Event>, now: i64) -> InboxStats {
    let mut stats = InboxStats::default();
    for event in events {
        match event.state {
            WAITING => stats.waiting += 1,
            RUNNING => stats.running += 1,
            DEAD => stats.dead += 1,
            _ => {}
        }
        if event.state < DONE {
            stats.oldest = stats.oldest.max(Duration::from_millis((now - event.received).unsigned_abs()));
        }
    }
    stats
}

fn assert_stats(found: &InboxStats, expected: &InboxStats, step: &str) {
    let counts = |stats: &InboxStats| (stats.waiting, stats.running, stats.dead);
    assert_eq!(counts(found), counts(expected), "{step}");
    let late = found.oldest.abs_diff(expected.oldest);
    assert!(late.as_millis() < SLACK.unsigned_abs().into(), "{step}: {found:?}, {expected:?}");
}

/// Statements that read and change rows as they are.
fn leak(queue: &Queue, text: &str, columns: &[&str]) -> &'static Statement {
    Box::leak(Box::new(Statement::single(queue.dialect(), text, columns)))
}

async fn follow_the_rule(url: String) {
    let settings = Settings { handler_connections: 1, ..Settings::new(roomz_sql::tests) };
    let (workers, pool) = connect(url.into(), &settings).await.unwrap();
    let queue = Queue::new(workers, pool);
    let all = "SELECT namespace, event_id, state, due, received, owner, attempt, earlier, body, error, traceparent \
               FROM roomz_inbox";
    let time_passes = "UPDATE roomz_inbox SET due = {now} - {late}, received = received - 7200000 \
                       WHERE namespace = {namespace} AND event_id = {event_id} RETURNING due";
    let (all, time_passes) =
        (leak(&queue, all, &[]), leak(&queue, time_passes, &["namespace", "event_id", "late"]));
    let keys: Vec<_> = ["one", "other"]
        .into_iter()
        .flat_map(|namespace| {
            (1..5).map(move |id| ClaimKey::new(namespace.into(), Uuid::from_u128(id).into()))
        })
        .collect();
    let owners = [Owner::random(), Owner::random()];
    let mut random = StdRng::seed_from_u64(1);
    let (mut before, mut now) = read(&queue, all).await;
    for number in 0..roomz_tests::rounds(400, 10_000) {
        let (mut model, owner) = (before.clone(), *owners.choose(&mut random).unwrap());
        let mut some = keys.clone();
        some.shuffle(&mut random);
        some.truncate(random.random_range(1..=4));
        let one = &some[0];
        let step = format!("{number}, {:?}", queue.dialect());
        match random.random_range(0..14) {
            0..3 => {
                let mut inserts = JoinSet::new();
                for key in some {
                    let (queue, body) = (queue.clone(), format!("body {number}"));
                    let traceparent = (number % 3 == 0).then(|| format!("trace {number}"));
                    let event = Event {
                        state: WAITING,
                        due: 0,
                        received: 0,
                        owner: key.id().as_uuid().as_bytes().to_vec(),
                        attempt: 0,
                        earlier: 0,
                        body: body.clone().into_bytes(),
                        error: None,
                        traceparent: traceparent.clone(),
                    };
                    let is_new = !model.contains_key(&id(&key));
                    model.entry(id(&key)).or_insert(event);
                    inserts.spawn(async move {
                        let inserted = queue.insert(&key, body.as_bytes(), traceparent.as_deref()).await;
                        assert_eq!(inserted.unwrap(), is_new, "{number}");
                    });
                }
                while let Some(insert) = inserts.join_next().await {
                    insert.unwrap();
                }
            }
            3..6 => {
                let times: Vec<_> = before.values().map(|event| event.due).collect();
                let is_part = number % 3 == 0 && !times.is_empty();
                let mut bound = || *times.choose(&mut random).unwrap();
                let (start, end) = if is_part { (bound(), bound()) } else { (-(1 << 60), 1 << 60) };
                let limit = random.random_range(1..=3);
                let due: BTreeMap<_, _> = before
                    .iter()
                    .filter(|(_, event)| {
                        event.state < DONE && event.due <= now && event.due >= start && event.due < end
                    })
                    .collect();
                let values =
                    [Value::from(&owner.to_bytes()), millis(LEASE), limit.into(), start.into(), end.into()];
                let rows = queue.execute(&queue.statements.take, values.to_vec()).await.unwrap();
                assert_eq!(rows.len(), due.len().min(usize::try_from(limit).unwrap()), "{step}");
                let mut was_due = Vec::new();
                for row in rows.clone() {
                    let taken = TakenEvent::try_from(row).unwrap();
                    let event = model.get_mut(&id(&taken.key)).unwrap();
                    assert!(due.contains_key(&id(&taken.key)), "{step}: {taken:?}");
                    was_due.push(event.due);
                    (event.state, event.due, event.owner) =
                        (RUNNING, LEASE.as_millis() as i64, owner.to_bytes().to_vec());
                    event.attempt += 1;
                    let age = i64::try_from(taken.age.as_millis()).unwrap();
                    assert!((0..SLACK).contains(&(age - (now - event.received))), "{step}: {taken:?}");
                    let found = (
                        taken.attempt,
                        taken.uncounted_attempts,
                        taken.received.as_millisecond(),
                        taken.body.to_vec(),
                    );
                    assert_eq!(
                        found,
                        (event.attempt, event.earlier, event.received, event.body.clone()),
                        "{step}"
                    );
                    assert_eq!(
                        (taken.last_error, taken.traceparent),
                        (event.error.clone(), event.traceparent.clone())
                    );
                }
                was_due.sort_unstable();
                let mut first: Vec<_> = due.values().map(|event| event.due).collect();
                first.sort_unstable();
                first.truncate(was_due.len());
                assert_eq!(was_due, first, "{step}: not those that were due first");
                if let Some((time, last_due)) = last(&rows) {
                    assert!((now..now + SLACK).contains(&time), "{step}");
                    let is_known = queue.dialect() == Dialect::Postgres;
                    assert!(!is_known || was_due.last() == Some(&last_due), "{step}");
                }
            }
            6..9 => {
                let mut updates = JoinSet::new();
                for key in some {
                    let update = match random.random_range(0..5) {
                        0 => OwnerUpdate::Renew { lease: LEASE },
                        1 => OwnerUpdate::Complete { retention: RETENTION },
                        2 => OwnerUpdate::RetryAfter { pause: PAUSE, error: "failed" },
                        3 => OwnerUpdate::Dead { retention: RETENTION, error: "dead" },
                        _ => OwnerUpdate::GiveBack,
                    };
                    let (queue, attempts) = (queue.clone(), random.random_range(0..9));
                    let event = model.get_mut(&id(&key));
                    let age = event.and_then(|event| {
                        event.update(owner, attempts, update).then_some(now - event.received)
                    });
                    updates.spawn(async move {
                        let found = queue.update(&key, owner, attempts, update).await.unwrap();
                        let found = found.map(|age| i64::try_from(age.as_millis()).unwrap());
                        assert_eq!(found.is_some(), age.is_some(), "{number}: {update:?}");
                        assert!(
                            found.zip(age).is_none_or(|(found, age)| (0..SLACK).contains(&(found - age))),
                            "{number}"
                        );
                    });
                }
                while let Some(update) = updates.join_next().await {
                    update.unwrap();
                }
            }
            9 => {
                let behind = *[MINUTE, SLACK].choose(&mut random).unwrap();
                let values = vec![Value::from(&owner.to_bytes()), behind.into()];
                queue.execute(&queue.statements.give_back_all, values).await.unwrap();
                for event in model.values_mut() {
                    // A lease that ended is three minutes late.
                    let is_recent = event.due > now || behind > 3 * MINUTE;
                    if event.state == RUNNING && event.owner == owner.to_bytes() && is_recent {
                        (event.state, event.due, event.attempt) = (WAITING, 0, event.attempt - 1);
                    }
                }
            }
            10 => {
                let event = model.get_mut(&id(one)).filter(|event| event.state == DEAD);
                assert_eq!(queue.retry(one).await.unwrap(), event.is_some(), "{step}");
                if let Some(event) = event {
                    (event.state, event.due, event.earlier) = (WAITING, 0, event.attempt);
                }
            }
            11 => {
                let event = model.get_mut(&id(one)).filter(|event| event.state == DEAD);
                assert_eq!(queue.discard(one, RETENTION * 2).await.unwrap(), event.is_some(), "{step}");
                if let Some(event) = event {
                    (event.state, event.due) = (DONE, (RETENTION * 2).as_millis() as i64);
                }
            }
            12 if number % 3 == 0 => {
                let is_over = |event: &Event| event.state >= DONE && event.due <= now;
                let deleted = queue.purge().await.unwrap();
                assert_eq!(deleted, model.values().filter(|event| is_over(event)).count(), "{step}");
                model.retain(|_, event| !is_over(event));
            }
            _ => {
                let [namespace, id_of_one] = Value::key(one);
                let late = vec![namespace, id_of_one, (3 * MINUTE).into()];
                queue.execute(time_passes, late).await.unwrap();
                if let Some(event) = model.get_mut(&id(one)) {
                    (event.due, event.received) = (-3 * MINUTE, event.received - 120 * MINUTE);
                }
            }
        }
        let found = read(&queue, all).await;
        now = found.1;
        compare(&found.0, &model, &before, now, &step);
        before = found.0;

        let found = InboxStats { dead: queue.dead().await.unwrap(), ..queue.open().await.unwrap() };
        assert_stats(&found, &stats(before.values(), now), &step);
        let by_namespace = queue.stats_by_namespace().await.unwrap();
        let mut open: Vec<_> =
            before.iter().filter(|(_, event)| event.state != DONE).map(|((name, _), _)| name).collect();
        open.dedup();
        assert_eq!(by_namespace.iter().map(|(name, _)| name).collect::<Vec<_>>(), open, "{step}");
        for (namespace, found) in by_namespace {
            let of_namespace = before.iter().filter(|((of_event, _), _)| *of_event == namespace);
            assert_stats(&found, &stats(of_namespace.map(|(_, event)| event), now), &step);
        }
        let state = random.random_range(WAITING..=DEAD);
        let namespace = [None, Some("one"), Some("other")].choose(&mut random).copied().flatten();
        let listed = queue.list(namespace, state, 3).await.unwrap();
        let mut due: Vec<_> = before
            .iter()
            .filter(|((of_event, _), event)| {
                namespace.is_none_or(|name| name == of_event) && event.state == state
            })
            .map(|(_, event)| event.due)
            .collect();
        due.sort_unstable();
        due.truncate(3);
        assert_eq!(listed.iter().map(|entry| entry.due.as_millisecond()).collect::<Vec<_>>(), due, "{step}");
        for entry in listed.into_iter().chain(queue.get(&keys[0]).await.unwrap()) {
            let event = &before[&id(&entry.key)];
            let times = (entry.due.as_millisecond(), entry.received.as_millisecond());
            assert_eq!(times, (event.due, event.received), "{step}");
            let found = (entry.state.number(), entry.attempts, entry.error, entry.body.to_vec());
            assert_eq!(
                found,
                (event.state, event.attempt, event.error.clone(), event.body.clone()),
                "{step}"
            );
        }
        assert_eq!(queue.get(&keys[0]).await.unwrap().is_some(), before.contains_key(&id(&keys[0])));
    }
}

fn millis(duration: Duration) -> Value {
    crate::queue::row::millis(duration).into()
}

#[tokio::test]
async fn sqlite_rows_follow_the_rule() {
    let directory = tempfile::tempdir().unwrap();
    follow_the_rule(format!("sqlite://{}/inbox.db", directory.path().display())).await;
}

#[tokio::test]
async fn postgres_rows_follow_the_rule() {
    let Some(url) = roomz_tests::postgres_url_or_skip() else { return };
    let schema = format!("rule_{:032x}", rand::random::<u128>());
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    follow_the_rule(format!("{url}?options=-c%20search_path%3D{schema}")).await;
}
