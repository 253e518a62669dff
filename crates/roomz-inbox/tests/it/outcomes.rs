//! Outcomes that the database rejects.

use std::time::Duration;

use crate::support::{Calls, POLL, TestDatabase, WAIT, deliver_new, gated_worker, wait_for};
use roomz_inbox::{Inbox, InboxState};

/// Executes this before it records an outcome with an error. The sequence `tries` counts what is rolled back,
/// too.
async fn database_with(check: &str) -> Option<(TestDatabase, Inbox)> {
    let database = TestDatabase::postgres().await?;
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let trigger = format!(
        "CREATE SEQUENCE tries; \
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {check} RETURN NEW; END $$; \
         CREATE TRIGGER fail BEFORE UPDATE ON roomz_inbox FOR EACH ROW WHEN (NEW.error IS NOT NULL) \
         EXECUTE FUNCTION fail()"
    );
    database.execute(trigger).await;
    Some((database, inbox))
}

/// Only a database that rejects the text itself replaces it.
#[tokio::test(flavor = "multi_thread")]
async fn other_failure_keeps_the_text() {
    let check = "IF nextval('tries') <= 4 THEN RAISE 'not now'; END IF;";
    let Some((_database, inbox)) = database_with(check).await else { return };
    let event = deliver_new(&inbox).await;
    let (worker, mut calls) = gated_worker(&inbox);
    calls.next().await.fail("the lamp is broken");
    let failed = wait_for(&inbox, &event, InboxState::Waiting).await;
    assert_eq!(failed.error.as_deref(), Some("the lamp is broken"));
    worker.shutdown(WAIT).await;
}

/// The pauses double, and the tries end with the lease: then the event runs again.
#[tokio::test(flavor = "multi_thread")]
async fn failing_outcome_is_tried_until_the_lease_ends() {
    let check = "PERFORM nextval('tries'); RAISE 'not now';";
    let Some((database, inbox)) = database_with(check).await else { return };
    let event = deliver_new(&inbox).await;
    let (service, mut calls) = Calls::new();
    let worker = inbox.worker(service).with_lease(Duration::from_secs(10));
    let worker = worker.with_poll_interval(POLL).start();
    calls.next().await.fail("the lamp is broken");
    let call = calls.next().await;
    assert_eq!(call.attempt, 2);
    let tries = database.number("SELECT last_value FROM tries").await;
    assert!((2..=20).contains(&tries), "{tries}");
    database.execute("DROP TRIGGER fail ON roomz_inbox").await;
    call.succeed();
    wait_for(&inbox, &event, InboxState::Done).await;
    worker.shutdown(WAIT).await;
}
