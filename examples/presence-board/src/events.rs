//! Server-sent events: a snapshot first, then one message for each delivery, and heartbeats.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use futures_util::stream;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::board::Board;
use crate::messages::{Heartbeat, to_json};

/// The longest time without a message. The page reports a silent server after 8 s, more than twice this
/// interval.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// The pause before a client that fell behind gets a new snapshot: at most one snapshot per second and
/// client.
const RESYNC_DELAY: Duration = Duration::from_secs(1);

/// `GET /events`
pub async fn events(State(board): State<Board>) -> impl IntoResponse {
    let subscription = Subscription { board, updates: None };
    let events = stream::unfold(subscription, async |mut subscription| {
        let event = subscription.next().await?;
        Some((Ok::<_, Infallible>(event), subscription))
    });
    // nginx collects a response in a buffer of several kilobytes unless this header disables it.
    ([("x-accel-buffering", "no")], Sse::new(events))
}

struct Subscription {
    board: Board,
    /// `None` before the first snapshot, after the client fell behind, and after the board was replaced.
    updates: Option<broadcast::Receiver<Arc<str>>>,
}

impl Subscription {
    /// The next message, or `None` when the board is closed.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let Some(updates) = &mut self.updates else {
                let (snapshot, updates) = self.board.subscribe()?;
                self.updates = Some(updates);
                return Some(Event::default().event("snapshot").data(snapshot));
            };
            match tokio::time::timeout(HEARTBEAT_INTERVAL, updates.recv()).await {
                Ok(Ok(update)) => return Some(Event::default().event("delivery").data(update)),
                Ok(Err(RecvError::Closed)) => self.updates = None,
                Ok(Err(RecvError::Lagged(_))) => {
                    self.updates = None;
                    tokio::time::sleep(RESYNC_DELAY).await;
                }
                // A named event, because scripts do not receive the comments that servers usually send.
                Err(_) => return Some(Event::default().event("heartbeat").data(to_json(&Heartbeat::now()))),
            }
        }
    }
}
