//! The numbers of an inbox that other programs fill and work on (see the example `inbox`).

use std::time::{Duration, Instant};

use axum::Router;
use roomz_inbox::{ConnectError, Inbox};

use crate::board::Board;
use crate::board_metrics;
use crate::messages::InboxCounts;

const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Reading takes at most one part in this many of the time.
const READ_FRACTION: u32 = 10;

/// Connects to an inbox that exists, and shows its numbers from then on. Returns the routes for its dead
/// letters.
pub async fn start(url: &str, board: &Board) -> Result<Router, ConnectError> {
    let inbox = Inbox::builder(url).with_migrations(false).connect().await?;
    tokio::spawn(follow(inbox.clone(), board.clone()));
    Ok(crate::dead_letters::routes(inbox))
}

async fn follow(inbox: Inbox, board: Board) {
    loop {
        let start = Instant::now();
        match inbox.stats().await {
            Ok(stats) => {
                let counts = InboxCounts {
                    waiting: stats.waiting,
                    running: stats.running,
                    dead: stats.dead,
                    oldest_seconds: stats.oldest.as_secs(),
                };
                board_metrics::inbox_read(&counts);
                board.show_inbox(Some(counts));
            }
            Err(error) => {
                board_metrics::inbox_failed();
                tracing::warn!(%error, "cannot read the inbox");
                board.show_inbox(None);
            }
        }
        tokio::time::sleep(POLL_INTERVAL.max(start.elapsed() * READ_FRACTION)).await;
    }
}
