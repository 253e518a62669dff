//! Server-sent events: all that is known first, then each delivery.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::board::Board;

/// How long nothing is said at most. The page takes a silence of three times this for a dead connection.
const ALIVE: Duration = Duration::from_secs(15);
/// How long a reader that fell behind is left alone, so that a flood costs it one snapshot a second and no more.
const BREATH: Duration = Duration::from_secs(1);

/// `GET /events`
pub async fn events(State(board): State<Board>) -> impl IntoResponse {
    let reader = Reader { board, news: None };
    let events = stream::unfold(reader, async |mut reader| {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    // A comment would do for proxies, but the page does not see comments.
    let alive = KeepAlive::new().interval(ALIVE).event(Event::default().event("alive").data("-"));
    Sse::new(events).keep_alive(alive)
}

struct Reader {
    board: Board,
    news: Option<broadcast::Receiver<Arc<str>>>,
}

impl Reader {
    /// `None` when the board is closed.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let Some(news) = &mut self.news else {
                let (snapshot, news) = self.board.subscribe()?;
                self.news = Some(news);
                return Some(Event::default().event("snapshot").data(snapshot));
            };
            match news.recv().await {
                Ok(news) => return Some(Event::default().event("delivery").data(news)),
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(_)) => {
                    self.news = None;
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }
}
