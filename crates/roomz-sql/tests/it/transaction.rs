//! A handler completes its event in the transaction of its effect.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::database::{DONE, Pool, RUNNING, TestDatabase, Transaction, databases};
use crate::support::receiver::Receiver;
use crate::support::{new_database, random_hex};
use http::StatusCode;
use roomz_sql::{CompleteErrorKind, SqlStore};
use roomz_tests::recorder::{Call, Log, Operation, Recorder, Reply};
use roomz_webhook::store::{ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner};
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Delivery, IdReusePolicy};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::sync::Notify;

const OK: StatusCode = StatusCode::OK;
/// Not 500, which the layer answers for a failed assertion in a handler.
const ERROR: StatusCode = StatusCode::BAD_GATEWAY;
/// A lease that a busy machine renews in time.
const LEASE: Duration = Duration::from_millis(1_500);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Begins a transaction, inserts the effect and completes the event. Does not commit.
async fn complete(database: &TestDatabase, delivery: &Delivery) -> Transaction {
    let mut transaction = database.begin().await;
    transaction.insert_effect(delivery.event().id).await;
    transaction.complete(delivery).await.unwrap();
    transaction
}

/// A receiver whose handler completes in its transaction and commits.
async fn committing_receiver(database: &TestDatabase) -> Receiver {
    Receiver::on(database, database, async |database, delivery| {
        complete(&database, &delivery).await.commit().await;
        OK
    })
    .await
}

#[tokio::test]
async fn effect_and_completion_commit_together() {
    for database in databases().await {
        for store in [database.store().await, database.store_on_pool().await] {
            let receiver = Receiver::with(
                |layer| layer.with_store(store),
                &database,
                async |database, delivery| {
                    let transaction = complete(&database, &delivery).await;
                    assert_eq!((database.count_effects().await, database.claim_row().await.0), (0, RUNNING));
                    transaction.commit().await;
                    assert_eq!((database.count_effects().await, database.claim_row().await.0), (1, DONE));
                    OK
                },
            );
            let event = TestEvent::busy();
            assert_eq!(receiver.deliver(&event).await, (200, false));
            assert_eq!(receiver.deliver(&event).await, (200, true));
            assert_eq!((receiver.runs(), database.count_effects().await), (1, 1));
            database.clear().await;
        }
    }
}

/// The handler rolls back, or drops the transaction as an early return does.
#[tokio::test]
async fn rollback_leaves_claim_running() {
    for database in databases().await {
        let receiver = Receiver::on(&database, &database, async |database, delivery| {
            let transaction = complete(&database, &delivery).await;
            match delivery.attempt() {
                1 => transaction.rollback().await,
                2 => drop(transaction),
                _ => {
                    transaction.commit().await;
                    return OK;
                }
            }
            assert_eq!((database.count_effects().await, database.claim_row().await.0), (0, RUNNING));
            ERROR
        })
        .await;
        let event = TestEvent::busy();
        for expected in [(502, false), (502, false), (200, false), (200, true)] {
            assert_eq!(receiver.deliver(&event).await, expected);
        }
        assert_eq!((receiver.runs(), database.count_effects().await), (3, 1));
    }
}

/// After the commit, the layer completes the claim again, or releases it if the handler fails.
#[tokio::test]
async fn layer_changes_nothing_after_commit() {
    for database in databases().await {
        for status in [OK, ERROR] {
            let committed = Arc::new(Mutex::new(None));
            let context = (database.clone(), Arc::clone(&committed), status);
            let receiver =
                Receiver::on(&database, &context, async |(database, committed, status), delivery| {
                    complete(&database, &delivery).await.commit().await;
                    *committed.lock().unwrap() = Some(database.claim_row().await);
                    // A later completion would set a later expiry.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    status
                })
                .await;
            let event = TestEvent::busy();
            assert_eq!(receiver.deliver(&event).await, (status.as_u16(), false));
            assert_eq!(Some(database.claim_row().await), *committed.lock().unwrap());
            assert_eq!(receiver.deliver(&event).await, (200, true));
            assert_eq!((receiver.runs(), database.count_effects().await), (1, 1));
            database.clear().await;
        }
    }
}

/// Two points at which a handler and its test wait for each other.
#[derive(Default)]
struct Steps {
    reached: Notify,
    go_on: Notify,
}

/// The first attempt pauses until its lease is over and another process has handled the event.
#[tokio::test]
async fn stale_attempt_is_lost() {
    for database in databases().await {
        // A transaction that is open in SQLite would block the other process.
        let begins_early: &[bool] = if database.is_postgres() { &[false, true] } else { &[false] };
        for &begins_early in begins_early {
            let context = (database.clone(), Arc::new(Steps::default()), begins_early);
            let stale =
                Receiver::on(&database, &context, async |(database, steps, begins_early), delivery| {
                    let mut early = None;
                    if begins_early {
                        let transaction = early.insert(database.begin().await);
                        transaction.insert_effect(delivery.event().id).await;
                    }
                    steps.reached.notify_one();
                    steps.go_on.notified().await;
                    let mut transaction = match early {
                        Some(transaction) => transaction,
                        None => database.begin().await,
                    };
                    transaction.insert_effect(delivery.event().id).await;
                    let error = transaction.complete(&delivery).await.unwrap_err();
                    assert_eq!(error.kind(), CompleteErrorKind::Lost);
                    assert!(error.to_string().contains(&delivery.event().id.to_string()), "{error}");
                    ERROR
                })
                .await;
            let other = committing_receiver(&database).await;
            let event = TestEvent::busy();
            let (first, ()) = tokio::join!(stale.deliver(&event), async {
                context.1.reached.notified().await;
                database.end_leases().await;
                assert_eq!(other.deliver(&event).await, (200, false));
                context.1.go_on.notify_one();
            });
            assert_eq!(first, (502, false));
            let (state, attempt, _) = database.claim_row().await;
            assert_eq!((state, attempt, database.count_effects().await), (DONE, 2, 1));
            assert_eq!(stale.deliver(&event).await, (200, true));
            database.clear().await;
        }
    }
}

/// The lease is over while a completed transaction is open. The takeover waits for its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takeover_waits_for_open_transaction() {
    for database in databases().await {
        for commits in [true, false] {
            let context = (database.clone(), Arc::new(Steps::default()), commits);
            let first = Receiver::on(&database, &context, async |(database, steps, commits), delivery| {
                database.end_leases().await;
                let transaction = complete(&database, &delivery).await;
                steps.reached.notify_one();
                steps.go_on.notified().await;
                if commits {
                    transaction.commit().await;
                } else {
                    transaction.rollback().await;
                }
                if commits { OK } else { ERROR }
            })
            .await;
            let other = committing_receiver(&database).await;
            let event = TestEvent::busy();
            let deliver = |receiver: &Receiver| {
                let (receiver, event) = (receiver.clone(), event.clone());
                tokio::spawn(async move { receiver.deliver(&event).await })
            };
            let first = deliver(&first);
            context.1.reached.notified().await;
            let takeover = deliver(&other);
            // Longer than a statement of the store waits for a lock.
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(!takeover.is_finished(), "the takeover did not wait");
            context.1.go_on.notify_one();
            assert_eq!(first.await.unwrap().0, if commits { 200 } else { 502 });
            assert_eq!(takeover.await.unwrap(), (200, commits));
            assert_eq!(other.runs(), usize::from(!commits));
            assert_eq!((database.count_effects().await, database.claim_row().await.0), (1, DONE));
            database.clear().await;
        }
    }
}

/// A takeover has found a lease that is over, and waits for the lock of the row, when its owner completes the
/// event, or renews the lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_commits_while_takeover_waits() {
    let Some(url) = new_database().await else { return };
    let store = SqlStore::connect(&url).await.unwrap();
    let mut owner = PgConnection::connect(&url).await.unwrap();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let request = |lease| ClaimRequest::new(Owner::random(), Fingerprint::of(b"body"), lease, HOUR);
    for (change, is_done) in [("state = 2", true), ("lease_end = lease_end + 3600000", false)].repeat(10) {
        let id = random_hex();
        let key = ClaimKey::new("takeover".into(), id.parse().unwrap());
        let _ = store.claim(&key, &request(Duration::from_millis(1))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        let mut transaction = owner.begin().await.unwrap();
        let update = format!("UPDATE roomz_claims SET {change} WHERE event_id = decode('{id}', 'hex')");
        transaction.execute(AssertSqlSafe(update)).await.unwrap();
        let (store, request) = (store.clone(), request(HOUR));
        let takeover = tokio::spawn(async move { store.claim(&key, &request).await.unwrap().state });
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE wait_event_type = 'Lock' AND datname = current_database()";
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut admin).await.unwrap() == 0 {}
        transaction.commit().await.unwrap();
        let state = takeover.await.unwrap();
        assert!(matches!((state, is_done), (ClaimState::Done, true) | (ClaimState::InFlight { .. }, false)));
    }
}

/// The layer keeps its claims in another store than the database of the handler, which has the table of the
/// claims or has not. The message names the setting that is missing.
#[tokio::test]
async fn claim_in_another_store_is_not_completed() {
    for database in databases().await {
        for kind in [CompleteErrorKind::Lost, CompleteErrorKind::Database] {
            let context = (database.clone(), kind);
            let receiver = Receiver::with(
                |layer| layer,
                &context,
                async |(database, kind), delivery| {
                    let mut transaction = database.begin().await;
                    transaction.insert_effect(delivery.event().id).await;
                    let error = transaction.complete(&delivery).await.unwrap_err();
                    assert_eq!(error.kind(), kind);
                    assert!(error.to_string().contains("with_store(SqlStore"), "{error}");
                    assert!(!error.to_string().contains("failed"), "{error}");
                    ERROR
                },
            );
            assert_eq!(receiver.deliver(&TestEvent::busy()).await, (502, false));
            assert_eq!((receiver.runs(), database.count_effects().await), (1, 0));
            if kind == CompleteErrorKind::Lost {
                database.execute("DROP TABLE roomz_claims").await;
            }
        }
    }
}

/// Without a transaction, the completion would be a commit of its own.
#[tokio::test]
async fn completes_only_in_transaction() {
    for database in databases().await {
        let receiver = Receiver::on(&database, &database, async |database, delivery| {
            let error = database.complete_alone(&delivery).await.unwrap_err();
            assert_eq!(error.kind(), CompleteErrorKind::NoTransaction);
            assert!(error.to_string().contains("no open transaction"), "{error}");
            assert_eq!(database.claim_row().await.0, RUNNING);
            complete(&database, &delivery).await.commit().await;
            OK
        })
        .await;
        assert_eq!(receiver.deliver(&TestEvent::busy()).await, (200, false));
    }
}

/// Two bodies with one id are two events, each with a claim of its own.
#[tokio::test]
async fn completes_each_body_of_reused_id() {
    for database in databases().await {
        let store = database.store().await;
        let receiver = Receiver::with(
            |layer| layer.with_store(store).with_id_reuse_policy(IdReusePolicy::Process),
            &database,
            async |database, delivery| {
                complete(&database, &delivery).await.commit().await;
                OK
            },
        );
        let event = TestEvent::busy();
        let other = event.clone().with("note", 1);
        for expected in [(200, false), (200, true)] {
            assert_eq!(receiver.deliver(&event).await, expected);
            assert_eq!(receiver.deliver(&other).await, expected);
        }
        assert_eq!((receiver.runs(), database.count_effects().await), (2, 2));
    }
}

/// The documentation recommends READ COMMITTED for this reason.
#[tokio::test]
async fn renewal_breaks_repeatable_read() {
    let Some(database) = TestDatabase::postgres_or_skip().await else { return };
    let receiver = Receiver::on(&database, &database, async |database, delivery| {
        let Pool::Postgres(pool) = &database.pool else { unreachable!() };
        let begin = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
        let mut transaction = Transaction::Postgres(begin.unwrap());
        transaction.insert_effect(delivery.event().id).await;
        database.execute("UPDATE roomz_claims SET lease_end = lease_end + 1").await;
        let error = transaction.complete(&delivery).await.unwrap_err();
        assert_eq!(error.kind(), CompleteErrorKind::Database);
        assert!(error.to_string().contains("the database failed"), "{error}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("could not serialize access"), "{source}");
        ERROR
    })
    .await;
    assert_eq!(receiver.deliver(&TestEvent::busy()).await, (502, false));
    assert_eq!((receiver.runs(), database.count_effects().await), (1, 0));
}

/// The handler runs on after its commit. The layer notices that at the next renewal, and renews no more.
#[tokio::test]
async fn completed_handler_is_not_renewed() {
    for database in databases().await {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("calls");
        let store = Recorder::new(Arc::new(database.store().await), Log::open(&log));
        let receiver = Receiver::with(
            |layer| layer.with_store(store).with_store_timeout(LEASE / 3).with_lease(LEASE),
            &(database.clone(), log.clone()),
            async |(database, log), delivery| {
                complete(&database, &delivery).await.commit().await;
                let start = Instant::now();
                while !replies(&log).contains(&(Operation::Complete, Reply::Applied)) {
                    assert!(start.elapsed() < LEASE * 4, "the layer did not ask who completed the event");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                // The next renewal would be due.
                tokio::time::sleep(LEASE / 2).await;
                OK
            },
        );
        let event = TestEvent::busy();
        assert_eq!(receiver.deliver(&event).await, (200, false));
        let expected = [
            (Operation::Claim, Reply::Claimed(1)),
            (Operation::Renew, Reply::Lost),
            (Operation::Claim, Reply::Done),
            (Operation::Complete, Reply::Applied),
            (Operation::Complete, Reply::Applied),
        ];
        assert_eq!(replies(&log), expected);
        assert_eq!(receiver.deliver(&event).await, (200, true));
    }
}

fn replies(log: &Path) -> Vec<(Operation, Reply)> {
    Log::read::<Call>(log).into_iter().map(|call| (call.operation, call.reply)).collect()
}
