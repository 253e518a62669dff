mod calls;
mod database;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use roomz_inbox::{Endpoint, Inbox, InboxEntry, InboxState, Worker};
use roomz_tests::secret;
use roomz_webhook::store::ClaimKey;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Event, Webhook, WebhookLayer};
use tower::ServiceExt as _;

pub(crate) use self::calls::{Call, Calls, write_effect};
pub(crate) use self::database::TestDatabase;

/// Far longer than anything takes on a busy machine.
pub(crate) const WAIT: Duration = Duration::from_secs(60);
/// How often a test looks for the state that it waits for, and a worker for events.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// Runs a test on each database.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(super::TestDatabase::sqlite()).await; })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
                if let Some(database) = super::TestDatabase::postgres().await { super::$name(database).await; }
            })*
        }
    };
}
pub(crate) use on_both;

/// The endpoint of an inbox behind a layer with a new store in memory, as after a restart.
pub(crate) fn receiver(inbox: &Inbox) -> Webhook<Endpoint> {
    tower::Layer::layer(&WebhookLayer::builder(secret()).build().unwrap(), inbox.endpoint())
}

/// Delivers an event to a new receiver.
pub(crate) async fn deliver(inbox: &Inbox, event: &TestEvent) -> StatusCode {
    deliver_to(receiver(inbox), event).await.status()
}

pub(crate) async fn deliver_to<B>(
    receiver: impl tower::Service<Request<Full<Bytes>>, Response = Response<B>, Error = std::convert::Infallible>,
    event: &TestEvent,
) -> Response<B> {
    let request = event.request::<Vec<u8>>("/", &secret()).map(|body| Full::new(body.into()));
    receiver.oneshot(request).await.unwrap()
}

/// Delivers a new event, and returns it.
pub(crate) async fn deliver_new(inbox: &Inbox) -> TestEvent {
    let event = TestEvent::busy();
    assert_eq!(deliver(inbox, &event).await, 202);
    event
}

/// The key of an event, with the default namespace of the layer.
pub(crate) fn key(event: &TestEvent) -> ClaimKey {
    ClaimKey::new("roomz".into(), Event::parse(&event.body()).unwrap().id)
}

/// The entry of an event that the inbox has.
pub(crate) async fn entry(inbox: &Inbox, event: &TestEvent) -> InboxEntry {
    inbox.get(&key(event)).await.unwrap().unwrap()
}

/// Waits until the event is in this state.
pub(crate) async fn wait_for(inbox: &Inbox, event: &TestEvent, state: InboxState) -> InboxEntry {
    let start = Instant::now();
    loop {
        // A paused or restarted database may fail.
        if let Ok(Some(entry)) = inbox.get(&key(event)).await
            && entry.state == state
        {
            return entry;
        }
        assert!(start.elapsed() < WAIT, "the event is not {state:?} after {WAIT:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// Delivers until the answer is this one.
pub(crate) async fn deliver_until(inbox: &Inbox, event: &TestEvent, status: &[u16]) {
    let start = Instant::now();
    while !status.contains(&deliver(inbox, event).await.as_u16()) {
        assert!(start.elapsed() < WAIT, "no delivery was answered with {status:?} within {WAIT:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// A worker that handles one event at a time, as the test tells it.
pub(crate) fn gated_worker(inbox: &Inbox) -> (Worker, Calls) {
    let (service, calls) = Calls::new();
    (inbox.worker(service).with_concurrency(1).with_poll_interval(POLL).start(), calls)
}
