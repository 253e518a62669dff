//! The log of signed deliveries: finds one by its event or its workspace.
//!
//! Forged requests are not in it: anybody can send them, and they have no id that can be trusted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Query, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use roomz_axum::{EventId, Rejection, Skipped, Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};

use crate::names::Names;

/// How many deliveries are kept, about 3 MB.
const MAX_KEPT: usize = 10_000;
/// How many deliveries a search finds, the newest first.
const MAX_FOUND: usize = 100;
/// Longer names of clients are cut off.
const MAX_FROM: usize = 200;

/// What the handler says about its delivery: an extension of its response.
#[derive(Clone, Copy)]
pub struct Handled {
    pub event: EventId,
    pub workspace: Option<WorkspaceId>,
}

/// The latest signed deliveries to this process. Clones share them.
#[derive(Clone)]
pub struct DeliveryLog {
    names: Arc<Names>,
    deliveries: Arc<Mutex<VecDeque<LoggedDelivery>>>,
}

#[derive(Clone, Serialize)]
struct LoggedDelivery {
    received_at: Timestamp,
    /// The last address in `X-Forwarded-For`, which the proxy in front of the board adds. Without a proxy,
    /// the sender can choose it.
    from: Option<String>,
    event: EventId,
    workspace: Option<WorkspaceId>,
    /// Counts the deliveries of the event, from 1.
    attempt: usize,
    /// The status of the response.
    status: u16,
    /// `handled` or `failed`; or why the layer answered in place of the handler.
    outcome: &'static str,
}

#[derive(Deserialize)]
struct Search {
    search: String,
}

impl DeliveryLog {
    /// Creates an empty log. A search finds workspaces by these names.
    pub fn new(names: Names) -> Self {
        Self { names: Arc::new(names), deliveries: Arc::default() }
    }

    /// `GET /api/deliveries?search=…`
    pub fn routes(self) -> Router {
        let find =
            async |State(log): State<Self>, Query(search): Query<Search>| Json(log.find(&search.search));
        Router::new().route("/api/deliveries", get(find)).with_state(self)
    }

    /// Middleware outside the layer, which records the deliveries that it passes on.
    pub async fn record(State(log): State<Self>, request: Request, next: Next) -> Response {
        let (received_at, from) = (Timestamp::now(), client(&request));
        let response = next.run(request).await;
        let extensions = response.extensions();
        let (event, workspace) = match (extensions.get::<Handled>(), extensions.get::<EventId>()) {
            (Some(handled), _) => (handled.event, handled.workspace),
            (None, Some(event)) => (*event, None),
            (None, None) => return response,
        };
        let outcome = match (extensions.get::<Skipped>(), extensions.get::<Rejection>()) {
            (Some(skipped), _) => skipped.as_str(),
            (None, Some(rejection)) => rejection.kind().as_str(),
            (None, None) if response.status().is_success() => "handled",
            (None, None) => "failed",
        };
        let status = response.status().as_u16();
        let mut deliveries = log.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = deliveries.iter().rev().find(|one| one.event == event);
        let attempt = earlier.map_or(1, |one| one.attempt + 1);
        // The layer does not say the workspace of a duplicate.
        let workspace = workspace.or_else(|| earlier.and_then(|one| one.workspace));
        if deliveries.len() == MAX_KEPT {
            deliveries.pop_front();
        }
        deliveries.push_back(LoggedDelivery {
            received_at,
            from,
            event,
            workspace,
            attempt,
            status,
            outcome,
        });
        drop(deliveries);
        response
    }

    /// The deliveries whose event or workspace begins with the text, or whose workspace has it in its name.
    fn find(&self, text: &str) -> Vec<LoggedDelivery> {
        let text = text.trim().to_lowercase();
        let is_found = |one: &&LoggedDelivery| {
            let in_workspace = |id| self.name(id).contains(&text) || id.to_string().starts_with(&text);
            one.event.to_string().starts_with(&text) || one.workspace.as_ref().is_some_and(in_workspace)
        };
        let deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        deliveries.iter().rev().filter(is_found).take(MAX_FOUND).cloned().collect()
    }

    /// The name of a workspace in small letters.
    fn name(&self, workspace: &WorkspaceId) -> String {
        self.names.get(workspace).map(|name| name.name.to_lowercase()).unwrap_or_default()
    }
}

/// The client, as the nearest proxy saw it.
fn client(request: &Request) -> Option<String> {
    let forwarded = request.headers().get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let last = forwarded.rsplit(',').next()?.trim();
    Some(last.chars().take(MAX_FROM).collect())
}
