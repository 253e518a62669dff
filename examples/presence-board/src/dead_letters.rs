//! The dead letters of the inbox: to show, to retry and to discard.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use roomz_axum::store::ClaimKey;
use roomz_inbox::{Inbox, InboxEntry, InboxError, InboxState};
use serde::{Deserialize, Serialize};

/// How many dead letters the page shows, the oldest first.
const MAX_SHOWN: u32 = 100;

#[derive(Serialize)]
struct DeadLetter {
    #[serde(flatten)]
    key: Key,
    event_type: Option<String>,
    workspace: Option<String>,
    status: Option<String>,
    received_at: String,
    attempts: u32,
    error: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Key {
    namespace: String,
    id: String,
}

/// The routes of an inbox.
pub fn routes(inbox: Inbox) -> Router {
    Router::new()
        .route("/api/dead-letters", get(list))
        .route("/api/dead-letters/{action}", post(change))
        .with_state(inbox)
}

async fn list(State(inbox): State<Inbox>) -> Result<Json<Vec<DeadLetter>>, StatusCode> {
    let dead = inbox.list(InboxState::Dead, MAX_SHOWN).await.map_err(|error| unavailable(&error))?;
    Ok(Json(dead.iter().map(DeadLetter::new).collect()))
}

/// Retries or discards a dead letter. 404 if it is none any more.
///
/// A page of another site cannot send the content type that `Json` requires, and its request says where it
/// comes from: the browser of somebody who is logged in does nothing for that page.
async fn change(
    State(inbox): State<Inbox>,
    Path(action): Path<String>,
    headers: HeaderMap,
    Json(key): Json<Key>,
) -> Result<StatusCode, StatusCode> {
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return Err(StatusCode::FORBIDDEN);
    }
    let id = key.id.parse().map_err(|_| StatusCode::BAD_REQUEST)?;
    let claim = ClaimKey::new(key.namespace.into(), id);
    let changed = match action.as_str() {
        "retry" => inbox.retry(&claim).await,
        "discard" => inbox.discard(&claim).await,
        _ => return Err(StatusCode::NOT_FOUND),
    };
    if !changed.map_err(|error| unavailable(&error))? {
        return Err(StatusCode::NOT_FOUND);
    }
    tracing::info!(action, event.id = %claim.id(), namespace = claim.namespace(), "dead letter changed");
    Ok(StatusCode::NO_CONTENT)
}

fn unavailable(error: &InboxError) -> StatusCode {
    tracing::warn!(%error, "cannot use the inbox");
    StatusCode::SERVICE_UNAVAILABLE
}

impl DeadLetter {
    fn new(entry: &InboxEntry) -> Self {
        // An event that is kept because it cannot be read has no such fields.
        let event: serde_json::Value = serde_json::from_slice(&entry.body).unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        Self {
            key: Key { namespace: entry.key.namespace().to_owned(), id: entry.key.id().to_string() },
            event_type: text(&event["type"]),
            workspace: text(&event["data"]["workspaceId"]),
            status: text(&event["data"]["presenceStatus"]),
            received_at: entry.received.to_string(),
            attempts: entry.attempts,
            error: entry.error.clone(),
        }
    }
}
