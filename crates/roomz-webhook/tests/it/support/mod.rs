//! A receiver in memory whose store can be made to fail, and the same receiver behind a socket.

mod clock;
mod faulty_store;
mod receiver;
mod server;

use roomz_webhook::Secret;

pub(crate) use self::clock::TokioClock;
pub(crate) use self::faulty_store::{Fault, FaultyStore, Op};
pub(crate) use self::receiver::{TestReceiver, TestService};
pub(crate) use self::server::{TestServer, read_response};

/// The webhook secret of every test.
pub(crate) fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}

/// The number of rounds of a test: many with `ROOMZ_TESTS=long`, few otherwise.
pub(crate) fn rounds(few: usize, many: usize) -> usize {
    if std::env::var("ROOMZ_TESTS").as_deref() == Ok("long") { many } else { few }
}

/// Runs other tasks until the condition is true. Use it for work in the background.
pub(crate) async fn eventually(condition: &str, mut is_true: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if is_true() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("gave up waiting until {condition}");
}
