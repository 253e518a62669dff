//! What happens in the building: people come and go, and the network does what networks do.

use std::collections::VecDeque;
use std::time::Duration;

use rand::seq::{IndexedMutRandom as _, IndexedRandom as _};
use roomz_axum::roomz_webhook::roomz_protocol::Uuid;
use roomz_axum::{Secret, Timestamp, WorkspaceId};
use serde_json::json;

use crate::demo::client::Delivery;
use crate::names::Names;

pub(super) struct Building {
    secret: Secret,
    forger: Secret,
    /// Those of which nothing was delivered yet.
    silent: VecDeque<WorkspaceId>,
    workspaces: Vec<Workspace>,
    /// The last deliveries, to be delivered again.
    sent: VecDeque<Delivery>,
}

struct Workspace {
    id: WorkspaceId,
    busy: bool,
    since: Timestamp,
}

impl Building {
    pub(super) fn new(names: &Names, secret: Secret, forger: Secret) -> Self {
        let silent = names.ids().copied().collect();
        Self { secret, forger, silent, workspaces: Vec::new(), sent: VecDeque::new() }
    }

    /// The first delivery of a workspace, about what happened in the last hours.
    pub(super) fn first(&mut self) -> Option<Delivery> {
        let id = self.silent.pop_front()?;
        let since = Timestamp::now() - Duration::from_secs(rand::random_range(60..3 * 60 * 60));
        let busy = rand::random_bool(0.45);
        self.workspaces.push(Workspace { id, busy, since });
        Some(self.presence(id, since, status(busy)))
    }

    /// Whatever happens next.
    pub(super) fn next(&mut self) -> Option<Delivery> {
        match rand::random_range(0..100) {
            0..12 => self.sent.iter().collect::<Vec<_>>().choose(&mut rand::rng()).map(|&sent| sent.clone()),
            12..20 => self.late(),
            20..26 => Some(self.forged()),
            26..28 => Some(self.unknown()),
            28..30 if !self.silent.is_empty() => self.first(),
            30..31 => self.change("Offline"),
            _ => self.change(""),
        }
    }

    /// Somebody comes or goes, or the sensor has something of its own to say.
    fn change(&mut self, other: &str) -> Option<Delivery> {
        let mut rng = rand::rng();
        let workspace = self.workspaces.choose_mut(&mut rng)?;
        workspace.busy = !workspace.busy;
        workspace.since = Timestamp::now();
        let (id, since) = (workspace.id, workspace.since);
        let status = if other.is_empty() { status(workspace.busy) } else { other };
        Some(self.presence(id, since, status))
    }

    /// An event that took the long way: what it says was over before.
    fn late(&mut self) -> Option<Delivery> {
        let workspace = self.workspaces.choose(&mut rand::rng())?;
        let (id, busy) = (workspace.id, workspace.busy);
        let before = workspace.since - Duration::from_secs(rand::random_range(30..20 * 60));
        Some(self.presence(id, before, status(!busy)))
    }

    /// Somebody who does not know the secret says that everything is free.
    fn forged(&self) -> Delivery {
        let id = self.workspaces.choose(&mut rand::rng()).map_or_else(|| new_id().into(), |known| known.id);
        signed(&self.forger, &event(id, Timestamp::now(), "Free"))
    }

    /// A type of event that does not exist yet.
    fn unknown(&mut self) -> Delivery {
        let mut event = event(new_id().into(), Timestamp::now(), "Free");
        event["type"] = json!("workspace.battery.low");
        self.send(&event)
    }

    fn presence(&mut self, id: WorkspaceId, since: Timestamp, status: &str) -> Delivery {
        self.send(&event(id, since, status))
    }

    fn send(&mut self, event: &serde_json::Value) -> Delivery {
        let delivery = signed(&self.secret, event);
        self.sent.truncate(19);
        self.sent.push_front(delivery.clone());
        delivery
    }
}

fn status(busy: bool) -> &'static str {
    if busy { "Busy" } else { "Free" }
}

fn new_id() -> Uuid {
    Uuid::from_u128(rand::random())
}

fn event(workspace: WorkspaceId, timestamp: Timestamp, status: &str) -> serde_json::Value {
    json!({
        "id": new_id().to_string(),
        "type": "workspace.presence.changed",
        "timestamp": timestamp.to_string(),
        "apiVersion": "1.0",
        "data": { "workspaceId": workspace.to_string(), "presenceStatus": status },
    })
}

fn signed(secret: &Secret, event: &serde_json::Value) -> Delivery {
    let body = event.to_string().into_bytes();
    let signature = secret.sign(&body).to_base64().to_string();
    Delivery { body, signature }
}
