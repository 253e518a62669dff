//! The simulated building: its presence changes, and the duplicate, late, forged and unknown deliveries.

use std::collections::VecDeque;
use std::time::Duration;

use rand::seq::{IndexedMutRandom as _, IndexedRandom as _};
use roomz_axum::roomz_webhook::roomz_protocol::Uuid;
use roomz_axum::{Secret, Timestamp, WorkspaceId};
use serde_json::json;

use crate::demo::client::SignedEvent;
use crate::names::Names;

/// How many recent deliveries can be repeated as duplicates.
const MAX_RECENT: usize = 20;

pub(super) struct Building {
    secret: Secret,
    wrong_secret: Secret,
    /// Workspaces without an event so far.
    unreported: VecDeque<WorkspaceId>,
    workspaces: Vec<Workspace>,
    recent: VecDeque<SignedEvent>,
}

struct Workspace {
    id: WorkspaceId,
    busy: bool,
    since: Timestamp,
}

impl Building {
    pub(super) fn new(names: &Names, secret: Secret, wrong_secret: Secret) -> Self {
        let unreported = names.ids().copied().collect();
        Self { secret, wrong_secret, unreported, workspaces: Vec::new(), recent: VecDeque::new() }
    }

    /// The first event of a workspace, with a timestamp in the last three hours.
    pub(super) fn initial_delivery(&mut self) -> Option<SignedEvent> {
        let id = self.unreported.pop_front()?;
        let since = Timestamp::now() - Duration::from_secs(rand::random_range(60..3 * 60 * 60));
        let busy = rand::random_bool(0.45);
        self.workspaces.push(Workspace { id, busy, since });
        Some(self.sign_presence(id, since, status(busy)))
    }

    /// A random delivery.
    pub(super) fn next_delivery(&mut self) -> Option<SignedEvent> {
        match rand::random_range(0..100) {
            0..12 => self.duplicate(),
            12..20 => self.late_event(),
            20..26 => Some(self.forged_event()),
            26..28 => Some(self.unknown_event()),
            28..30 if !self.unreported.is_empty() => self.initial_delivery(),
            30..31 => self.presence_change(Some("Offline")),
            _ => self.presence_change(None),
        }
    }

    fn duplicate(&self) -> Option<SignedEvent> {
        self.recent.iter().collect::<Vec<_>>().choose(&mut rand::rng()).map(|&event| event.clone())
    }

    /// A workspace becomes busy or free, or gets `other_status`.
    fn presence_change(&mut self, other_status: Option<&str>) -> Option<SignedEvent> {
        let mut rng = rand::rng();
        let workspace = self.workspaces.choose_mut(&mut rng)?;
        workspace.busy = !workspace.busy;
        workspace.since = Timestamp::now();
        let (id, since) = (workspace.id, workspace.since);
        let status = other_status.unwrap_or(status(workspace.busy));
        Some(self.sign_presence(id, since, status))
    }

    /// An event that is older than the current status of its workspace.
    fn late_event(&mut self) -> Option<SignedEvent> {
        let workspace = self.workspaces.choose(&mut rand::rng())?;
        let (id, busy) = (workspace.id, workspace.busy);
        let earlier = workspace.since - Duration::from_secs(rand::random_range(30..20 * 60));
        Some(self.sign_presence(id, earlier, status(!busy)))
    }

    /// An event that is signed with the wrong secret.
    fn forged_event(&self) -> SignedEvent {
        let known = self.workspaces.choose(&mut rand::rng());
        let id = known.map_or_else(|| random_id().into(), |workspace| workspace.id);
        sign(&self.wrong_secret, &presence_event(id, Timestamp::now(), "Free"))
    }

    /// An event whose type this version of the crates does not know.
    fn unknown_event(&mut self) -> SignedEvent {
        let mut event = presence_event(random_id().into(), Timestamp::now(), "Free");
        event["type"] = json!("workspace.battery.low");
        self.sign(&event)
    }

    fn sign_presence(&mut self, id: WorkspaceId, since: Timestamp, status: &str) -> SignedEvent {
        self.sign(&presence_event(id, since, status))
    }

    fn sign(&mut self, event: &serde_json::Value) -> SignedEvent {
        let event = sign(&self.secret, event);
        self.recent.truncate(MAX_RECENT - 1);
        self.recent.push_front(event.clone());
        event
    }
}

fn status(busy: bool) -> &'static str {
    if busy { "Busy" } else { "Free" }
}

fn random_id() -> Uuid {
    Uuid::from_u128(rand::random())
}

fn presence_event(workspace: WorkspaceId, timestamp: Timestamp, status: &str) -> serde_json::Value {
    json!({
        "id": random_id().to_string(),
        "type": "workspace.presence.changed",
        "timestamp": timestamp.to_string(),
        "apiVersion": "1.0",
        "data": { "workspaceId": workspace.to_string(), "presenceStatus": status },
    })
}

fn sign(secret: &Secret, event: &serde_json::Value) -> SignedEvent {
    let body = event.to_string().into_bytes();
    let signature = secret.sign(&body).to_base64().to_string();
    SignedEvent { body, signature }
}
