//! The claim of an event: one file per situation.

mod disconnect;
mod drain;
mod duplicates;
mod first_delivery;
mod id_reuse;
mod lease;
mod settlement;
mod store_failure;

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use roomz_webhook::Delivery;
use tokio::time::sleep;
use tower::BoxError;

use crate::support::TestReceiver;

const OK: HandlerResult = Ok(StatusCode::OK);
const LEASE: Duration = Duration::from_secs(60);

type HandlerResult = Result<StatusCode, BoxError>;

/// A handler that returns these statuses in turn, then 200, and records its attempts.
fn scripted(
    statuses: impl IntoIterator<Item = StatusCode>,
) -> (Arc<Mutex<Vec<u32>>>, impl Fn(Delivery) -> Ready<HandlerResult> + Clone + Send + Sync) {
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let statuses = Arc::new(Mutex::new(statuses.into_iter().collect::<VecDeque<_>>()));
    let recorded = Arc::clone(&attempts);
    let handler = move |delivery: Delivery| {
        recorded.lock().unwrap().push(delivery.attempt());
        ready(Ok(statuses.lock().unwrap().pop_front().unwrap_or(StatusCode::OK)))
    };
    (attempts, handler)
}

/// Another process with the same store, whose handler takes this long.
fn other_process(receiver: &TestReceiver, time: Duration) -> TestReceiver {
    let store = receiver.store.clone();
    TestReceiver::with(
        |builder| builder.with_store(store),
        move |_| async move {
            sleep(time).await;
            OK
        },
    )
}
