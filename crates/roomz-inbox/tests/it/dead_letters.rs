//! Dead letters, the operations on them, and what is kept for how long.

use std::time::Duration;

use crate::support::{
    Calls, POLL, TestDatabase, WAIT, deliver, deliver_new, entry, key, on_both, receiver, wait_for,
};
use roomz_inbox::{BoxError, Inbox, InboxState, Job, Worker, WorkspacePresenceChanged};
use roomz_tests::secret;
use roomz_webhook::testing::{TestEvent, signed_request};
use tower::{ServiceExt as _, service_fn};

on_both! {
    unknown_type_goes_to_other_worker
    unknown_type_becomes_dead_letter
    unreadable_data_becomes_dead_letter
    retried_dead_letter_has_all_attempts_again
    discarded_dead_letter_is_a_duplicate
    only_dead_letters_are_retried_or_discarded
    entries_are_listed_in_order
    stats_count_events_that_are_not_done
    expired_rows_are_deleted_in_batches
    unlimited_retention_can_be_listed
    unreadable_row_does_not_stop_the_others
}

/// A worker for which every attempt is the last.
fn strict_worker(inbox: &Inbox) -> (Worker, Calls) {
    let (service, calls) = Calls::new();
    let worker = inbox.worker(service).with_concurrency(1).with_max_attempts(1).with_poll_interval(POLL);
    (worker.start(), calls)
}

/// A rolling update: the worker of the old version takes an event of a new type, which that of the new
/// version handles.
async fn unknown_type_goes_to_other_worker(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let event = TestEvent::busy().with_type("desk.moved");
    assert_eq!(deliver(&inbox, &event).await, 202);
    let (service, calls) = Calls::new();
    let old = inbox.worker(service).with_backoff(WAIT * 60, WAIT * 60).with_poll_interval(POLL).start();
    while entry(&inbox, &event).await.attempts == 0 {
        tokio::time::sleep(POLL).await;
    }
    let waiting = wait_for(&inbox, &event, InboxState::Waiting).await;
    assert!(waiting.due.duration_since(waiting.received).as_secs() >= 60 * 20);
    let error = waiting.error.unwrap();
    assert!(error.starts_with("the worker cannot handle the type desk.moved: "), "{error}");
    old.shutdown(WAIT).await;
    assert!(calls.is_empty());

    let handler = service_fn(async |job: Job| {
        assert_eq!((job.event().event_type.as_str(), job.attempt()), ("desk.moved", 2));
        Ok::<_, BoxError>(())
    });
    let new = inbox.worker(handler).with_poll_interval(POLL).start();
    database.make_due().await;
    wait_for(&inbox, &event, InboxState::Done).await;
    new.shutdown(WAIT).await;
}

async fn unknown_type_becomes_dead_letter(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let event = TestEvent::busy().with_type("desk\0\u{1b}[2J\u{202e}");
    assert_eq!(deliver(&inbox, &event).await, 202);
    let (worker, calls) = strict_worker(&inbox);
    let dead = wait_for(&inbox, &event, InboxState::Dead).await;
    let error = dead.error.unwrap();
    assert!(
        error.starts_with("the worker cannot handle the type desk\\u{0}\\u{1b}[2J\\u{202e}: "),
        "{error}"
    );
    assert_eq!((dead.attempts, dead.body.to_vec()), (1, event.body()));
    assert!(calls.is_empty());
    worker.shutdown(WAIT).await;
}

async fn unreadable_data_becomes_dead_letter(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let body = br#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4","type":"workspace.presence.changed","timestamp":"2024-05-21T08:22:32Z","data":{"presenceStatus":"Busy"}}"#;
    let request = signed_request::<Vec<u8>>("/", body.to_vec(), &secret());
    let answer =
        receiver(&inbox).oneshot(request.map(|body| http_body_util::Full::new(bytes::Bytes::from(body))));
    assert_eq!(answer.await.unwrap().status(), 202);
    let event = TestEvent::busy().with_id("e6ae112e-2af3-4d72-894b-03435d7afde4".parse().unwrap());
    let (worker, calls) = strict_worker(&inbox);
    let error = wait_for(&inbox, &event, InboxState::Dead).await.error.unwrap();
    assert!(error.contains("workspace.presence.changed") && error.contains("data.workspaceId"), "{error}");

    worker.shutdown(WAIT).await;

    // Another program changed the body.
    let other = deliver_new(&inbox).await;
    let text = if database.is_sqlite() { "x'20'" } else { "'\\x20'" };
    database.execute(format!("UPDATE roomz_inbox SET body = {text} WHERE state = 0")).await;
    let (worker, more_calls) = strict_worker(&inbox);
    let error = wait_for(&inbox, &other, InboxState::Dead).await.error.unwrap();
    assert!(error.starts_with("the event cannot be read: "), "{error}");
    assert!(calls.is_empty() && more_calls.is_empty());
    worker.shutdown(WAIT).await;
}

async fn retried_dead_letter_has_all_attempts_again(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let (service, mut calls) = Calls::new();
    let worker = inbox.worker(service).with_max_attempts(2).with_poll_interval(POLL).start();
    for attempt in 1..=6 {
        let call = calls.next().await;
        assert_eq!(call.attempt, attempt);
        call.fail("broken");
        if attempt % 2 == 1 {
            wait_for(&inbox, &event, InboxState::Waiting).await;
            database.make_due().await;
        } else {
            assert_eq!(wait_for(&inbox, &event, InboxState::Dead).await.attempts, attempt);
            assert!(inbox.retry(&key(&event)).await.unwrap());
        }
    }
    calls.next().await.succeed();
    assert_eq!(wait_for(&inbox, &event, InboxState::Done).await.attempts, 7);
    assert_eq!(database.effects().await, [7]);
    worker.shutdown(WAIT).await;
}

async fn discarded_dead_letter_is_a_duplicate(database: TestDatabase) {
    let inbox =
        Inbox::builder(&database.url).with_retention(Duration::from_secs(60 * 60)).connect().await.unwrap();
    let event = TestEvent::busy().with_type("unknown");
    assert_eq!(deliver(&inbox, &event).await, 202);
    let (worker, _calls) = strict_worker(&inbox);
    let dead = wait_for(&inbox, &event, InboxState::Dead).await;
    // A dead letter is kept for 30 days.
    assert!(dead.due.duration_since(dead.received).as_secs() >= 30 * 24 * 60 * 60);
    assert!(inbox.discard(&dead.key).await.unwrap());
    assert!(!inbox.discard(&dead.key).await.unwrap());
    let done = entry(&inbox, &event).await;
    assert_eq!((done.state, done.error, done.attempts), (InboxState::Done, dead.error, 1));
    let kept = done.due.duration_since(done.received).as_secs();
    assert!((60 * 60..60 * 60 + 600).contains(&kept), "{kept}");
    assert_eq!(deliver(&inbox, &event).await, 200);
    worker.shutdown(WAIT).await;
}

async fn only_dead_letters_are_retried_or_discarded(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let (service, mut calls) = Calls::new();
    let worker = inbox.worker(service).with_poll_interval(POLL).start();
    let call = calls.next().await;
    let unknown = key(&TestEvent::busy());
    for key in [&key(&event), &unknown] {
        assert!(!inbox.retry(key).await.unwrap() && !inbox.discard(key).await.unwrap());
    }
    assert_eq!(entry(&inbox, &event).await.state, InboxState::Running);
    assert!(inbox.get(&unknown).await.unwrap().is_none());
    call.succeed();
    wait_for(&inbox, &event, InboxState::Done).await;
    assert!(!inbox.retry(&key(&event)).await.unwrap() && !inbox.discard(&key(&event)).await.unwrap());
    worker.shutdown(WAIT).await;
}

async fn entries_are_listed_in_order(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let mut events = Vec::new();
    for number in 0..5 {
        let event = deliver_new(&inbox).await;
        let id = if database.is_sqlite() { "hex(event_id)" } else { "encode(event_id, 'hex')" };
        let text = key(&event).id().to_string().replace('-', "");
        // The last event is due first.
        let due =
            format!("UPDATE roomz_inbox SET due = {} WHERE upper({id}) = upper('{text}')", 100 - number);
        database.execute(due).await;
        events.insert(0, key(&event));
    }
    let first_three: Vec<_> = events.iter().take(3).cloned().collect();
    for state in [InboxState::Waiting, InboxState::Running, InboxState::Done, InboxState::Dead] {
        let number = match state {
            InboxState::Waiting => 0,
            InboxState::Running => 1,
            InboxState::Done => 2,
            InboxState::Dead => 3,
        };
        database.execute(format!("UPDATE roomz_inbox SET state = {number}")).await;
        let listed = inbox.list(state, 3).await.unwrap();
        assert!(listed.iter().all(|entry| entry.state == state));
        assert_eq!(listed.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), first_three);
        assert!(inbox.list(state, 0).await.unwrap().is_empty());
        let of_namespace = inbox.list_namespace("roomz", state, 3).await.unwrap();
        assert_eq!(of_namespace.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), first_three);
        assert!(inbox.list_namespace("other", state, 3).await.unwrap().is_empty());
        assert_eq!(inbox.list(state, u32::MAX).await.unwrap().len(), 5);
        let others = [InboxState::Waiting, InboxState::Running, InboxState::Done, InboxState::Dead];
        for other in others.into_iter().filter(|other| *other != state) {
            assert!(inbox.list(other, 10).await.unwrap().is_empty());
        }
    }
}

async fn stats_count_events_that_are_not_done(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    assert_eq!(inbox.stats().await.unwrap(), roomz_inbox::InboxStats::default());
    for state in [0, 0, 0, 1, 1, 2, 2, 2, 2, 3] {
        deliver_new(&inbox).await;
        database.execute(format!("UPDATE roomz_inbox SET state = {state} + 10 WHERE state = 0")).await;
    }
    database.execute("UPDATE roomz_inbox SET state = state - 10").await;
    // The oldest event is done, and its age does not count.
    database.execute("UPDATE roomz_inbox SET received = 0 WHERE state > 1").await;
    database.execute("UPDATE roomz_inbox SET received = received - 3600000 WHERE state = 1").await;
    let stats = inbox.stats().await.unwrap();
    assert_eq!((stats.waiting, stats.running, stats.dead), (3, 2, 1));
    assert!((60 * 60..60 * 60 + 600).contains(&stats.oldest.as_secs()), "{stats:?}");
    let by_namespace = inbox.stats_by_namespace().await.unwrap();
    let [(namespace, stats)] = by_namespace.as_slice() else { panic!("{by_namespace:?}") };
    assert_eq!((namespace.as_str(), stats.waiting, stats.running, stats.dead), ("roomz", 3, 2, 1));
}

/// Fills the table with 250 rows in this state.
async fn fill(database: &TestDatabase, state: u8, due: i64) {
    let sql = if database.is_sqlite() {
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)
         INSERT INTO roomz_inbox SELECT 'filled', randomblob(16), {state}, {due}, 0, x'00', 0, 0, x'00', NULL, NULL FROM n"
    } else {
        "INSERT INTO roomz_inbox SELECT 'filled', CAST(md5(CAST(i AS TEXT) || '{state}{due}') AS BYTEA), {state}, {due},
         0, '', 0, 0, '', NULL FROM generate_series(1, 250) i"
    };
    database.execute(sql.replace("{state}", &state.to_string()).replace("{due}", &due.to_string())).await;
}

async fn expired_rows_are_deleted_in_batches(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    for state in [2, 3] {
        fill(&database, state, 0).await;
        fill(&database, state, 1 << 50).await;
    }
    if !database.is_sqlite() {
        database
            .execute(
                "CREATE TABLE batches (deleted BIGINT);
                 CREATE FUNCTION record_batch() RETURNS trigger LANGUAGE plpgsql AS
                   'BEGIN INSERT INTO batches SELECT count(*) FROM deleted; RETURN NULL; END';
                 CREATE TRIGGER record_batch AFTER DELETE ON roomz_inbox REFERENCING OLD TABLE AS deleted
                   FOR EACH STATEMENT EXECUTE FUNCTION record_batch()",
            )
            .await;
    }
    let worker = inbox.worker(Calls::new().0).start();
    let count = "SELECT count(*) FROM roomz_inbox";
    let start = std::time::Instant::now();
    while database.number(count).await > 500 {
        assert!(start.elapsed() < WAIT, "the expired rows are not deleted");
        tokio::time::sleep(POLL).await;
    }
    worker.shutdown(WAIT).await;
    assert_eq!(database.number(format!("{count} WHERE due > 0")).await, 500);
    if !database.is_sqlite() {
        assert_eq!(database.number("SELECT max(deleted) FROM batches").await, 100);
    }
}

async fn unlimited_retention_can_be_listed(database: TestDatabase) {
    let inbox = Inbox::builder(&database.url).with_retention(Duration::MAX).connect().await.unwrap();
    database.create_effects().await;
    let dead = TestEvent::busy().with_type("unknown");
    assert_eq!(deliver(&inbox, &dead).await, 202);
    database.execute("UPDATE roomz_inbox SET attempt = 24").await;
    let done = deliver_new(&inbox).await;
    let (service, mut calls) = Calls::new();
    let worker = inbox
        .worker::<_, WorkspacePresenceChanged>(service)
        .with_dead_letter_retention(Duration::MAX)
        .with_lease(Duration::MAX)
        .with_handler_timeout(Duration::MAX)
        .with_max_age(Duration::MAX)
        .with_poll_interval(Duration::MAX)
        .with_backoff(Duration::MAX, Duration::MAX)
        .with_concurrency(usize::MAX)
        .start();
    let call = calls.next().await;
    assert!(!inbox.list(InboxState::Running, 10).await.unwrap().is_empty());
    call.succeed();
    wait_for(&inbox, &done, InboxState::Done).await;
    wait_for(&inbox, &dead, InboxState::Dead).await;
    assert_eq!(inbox.list(InboxState::Done, 10).await.unwrap().len(), 1);
    assert_eq!(inbox.list(InboxState::Dead, 10).await.unwrap().len(), 1);
    // The longest backoff can be written, too.
    let failed = deliver_new(&inbox).await;
    calls.next().await.fail("broken");
    wait_for(&inbox, &failed, InboxState::Waiting).await;
    worker.shutdown(WAIT).await;
}

/// Rows that no version of this crate writes.
async fn unreadable_row_does_not_stop_the_others(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let id = if database.is_sqlite() { "x'0000'" } else { "'\\x0000'" };
    let insert =
        format!("INSERT INTO roomz_inbox VALUES ('roomz', {id}, 0, 0, 0, {id}, 0, 0, {id}, NULL, NULL)");
    database.execute(insert).await;
    if database.is_sqlite() {
        let text = "INSERT INTO roomz_inbox VALUES ('roomz', x'01', 0, 0, 0, x'00', 0, 0, 'text', NULL, NULL);
                    INSERT INTO roomz_inbox VALUES (CAST(x'ff' AS TEXT), x'02', 0, 0, 'text', x'00', 0, 0, 1, NULL, NULL)";
        database.execute(text).await;
    }
    let events = [deliver_new(&inbox).await, deliver_new(&inbox).await];
    let (service, mut calls) = Calls::new();
    let worker = inbox.worker(service).with_poll_interval(POLL).start();
    for _ in &events {
        calls.next().await.succeed();
    }
    for event in &events {
        wait_for(&inbox, event, InboxState::Done).await;
    }
    worker.shutdown(WAIT).await;
}
