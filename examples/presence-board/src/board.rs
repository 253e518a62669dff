//! The state of the board, behind one lock.
//!
//! Every subscriber receives the updates in the same order. A subscription starts with a snapshot, so that
//! clients can connect and disconnect at any time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roomz_axum::{
    Event, Latest, LatestOutcome, PresenceStatus, RejectionKind, Timestamp, WorkspaceId,
    WorkspacePresenceChanged,
};
#[cfg(feature = "stores")]
use roomz_sql::WorkspacePresence;
use tokio::sync::broadcast;

use crate::messages::{DeliveryRecord, InboxCounts, Outcome, Snapshot, Stats, Update, Workspace, to_json};
use crate::names::{Name, Names};

/// How many deliveries a snapshot contains.
const MAX_RECENT: usize = 50;
/// How many updates a subscriber may fall behind before it needs a new snapshot. All subscribers share one
/// buffer.
const UPDATE_BUFFER: usize = 128;

/// The board. Clones share their state.
#[derive(Clone)]
pub struct Board(Arc<Mutex<State>>);

struct State {
    simulated: bool,
    names: Names,
    presence: HashMap<WorkspaceId, Latest<PresenceStatus>>,
    stats: Stats,
    recent: VecDeque<DeliveryRecord>,
    last_number: u64,
    last_delivery: Option<Timestamp>,
    /// `None` after `close`, which ends every subscription. Another sender makes every subscriber begin
    /// again.
    updates: Option<broadcast::Sender<Arc<str>>>,
}

impl Board {
    /// Creates a board without events.
    pub fn new(names: Names) -> Self {
        Self::create(names, false)
    }

    /// Like [`new`](Self::new), for the demo: the page says that the building is simulated.
    pub fn simulated(names: Names) -> Self {
        Self::create(names, true)
    }

    fn create(names: Names, simulated: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            simulated,
            names,
            presence: HashMap::new(),
            stats: Stats::default(),
            recent: VecDeque::new(),
            last_number: 0,
            last_delivery: None,
            updates: Some(broadcast::Sender::new(UPDATE_BUFFER)),
        })))
    }

    /// The names of the workspaces.
    pub(crate) fn names(&self) -> Names {
        self.lock().names.clone()
    }

    /// Applies a verified event.
    pub fn apply(&self, event: &Event) {
        let mut state = self.lock();
        let Some(event) = event.typed::<WorkspacePresenceChanged>() else {
            state.record(DeliveryRecord::new(Outcome::Unknown, event.event_type.to_string()), None);
            return;
        };
        let change = &event.data;
        let latest = state.presence.entry(change.workspace_id).or_default();
        let outcome = match latest.apply(event.id, event.timestamp, change.presence_status.clone()) {
            LatestOutcome::Newest => Outcome::Changed,
            LatestOutcome::Late => {
                metrics::counter!("presence_board_late_total").increment(1);
                Outcome::Late
            }
            // The handler ran before, but its completion did not reach the store.
            LatestOutcome::Duplicate => Outcome::Duplicate,
        };
        // `Display` escapes and truncates a status that is not known.
        let mut delivery = DeliveryRecord::new(outcome, change.presence_status.to_string());
        delivery.workspace = Some(change.workspace_id.to_string());
        delivery.timestamp = Some(event.timestamp.to_string());
        state.record(delivery, Some(change.workspace_id));
    }

    /// Shows the presence that the store keeps. It may come from another instance, or be known.
    #[cfg(feature = "stores")]
    pub fn show(&self, presence: WorkspacePresence) {
        self.lock().show(presence);
    }

    /// Replaces the presence of all workspaces by what the store keeps. Each subscriber gets a new snapshot.
    #[cfg(feature = "stores")]
    pub fn replace(&self, all: Vec<WorkspacePresence>) {
        let mut state = self.lock();
        state.presence.clear();
        all.into_iter().for_each(|presence| state.show(presence));
        if let Some(updates) = &mut state.updates {
            *updates = broadcast::Sender::new(UPDATE_BUFFER);
        }
    }

    /// Shows the numbers of the inbox.
    pub fn show_inbox(&self, inbox: Option<InboxCounts>) {
        let mut state = self.lock();
        if state.stats.inbox != inbox {
            state.stats.inbox = inbox;
            state.send(None, None);
        }
    }

    /// Shows whether the store is available.
    pub fn show_store(&self, is_available: bool) {
        let mut state = self.lock();
        if state.stats.store_unavailable_since.is_none() != is_available {
            state.stats.store_unavailable_since = (!is_available).then(|| Timestamp::now().to_string());
            state.send(None, None);
        }
    }

    /// Records a delivery that the layer skipped as a duplicate.
    pub fn record_duplicate(&self) {
        self.lock().record(DeliveryRecord::new(Outcome::Duplicate, String::new()), None);
    }

    /// Records a delivery that the layer rejected.
    pub fn record_rejection(&self, kind: RejectionKind) {
        let mut state = self.lock();
        *state.stats.rejected.entry(kind.as_str()).or_default() += 1;
        state.record(DeliveryRecord::new(Outcome::Rejected, kind.as_str().to_owned()), None);
    }

    /// Every workspace that has a name or an event.
    pub fn presence(&self) -> serde_json::Value {
        serde_json::json!({ "workspaces": self.lock().workspaces() })
    }

    /// A names file with every workspace that has a name or an event.
    pub fn names_file(&self) -> String {
        let workspaces = self.lock().workspaces().into_iter();
        let lines: Vec<_> = workspaces
            .map(|Workspace { id, name, floor, .. }| {
                let name = name.unwrap_or_else(|| id.chars().take(8).collect());
                format!("  {}: {}", to_json(&id), to_json(&Name { name, floor }))
            })
            .collect();
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }

    /// How many workspaces are free, busy, without an event, and in a status that is not known.
    pub(crate) fn status_counts(&self) -> [(&'static str, u64); 4] {
        let state = self.lock();
        let unknown = state.names.ids().filter(|id| !state.presence.contains_key(id)).count() as u64;
        let (mut free, mut busy, mut other) = (0, 0, 0);
        for latest in state.presence.values() {
            match latest.value() {
                Some(PresenceStatus::Free) => free += 1,
                Some(PresenceStatus::Busy) => busy += 1,
                _ => other += 1,
            }
        }
        [("free", free), ("busy", busy), ("unknown", unknown), ("other", other)]
    }

    /// The counters since the start of the process.
    pub fn stats(&self) -> Stats {
        self.lock().stats.clone()
    }

    /// A snapshot as JSON, and the updates that follow it. `None` after [`close`](Self::close).
    pub fn subscribe(&self) -> Option<(String, broadcast::Receiver<Arc<str>>)> {
        let state = self.lock();
        let updates = state.updates.as_ref()?.subscribe();
        let snapshot = Snapshot {
            now: Timestamp::now().to_string(),
            simulated: state.simulated,
            workspaces: state.workspaces(),
            stats: state.stats.clone(),
            recent: state.recent.iter().cloned().collect(),
        };
        Some((to_json(&snapshot), updates))
    }

    /// Ends all subscriptions and accepts no new ones, because an open stream would delay the server's
    /// shutdown.
    pub fn close(&self) {
        self.lock().updates = None;
    }

    /// Ignores poisoning: no code panics while it holds the lock, and an outdated board is better than none.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    #[cfg(feature = "stores")]
    fn show(&mut self, presence: WorkspacePresence) {
        let latest = self.presence.entry(presence.workspace_id).or_default();
        if latest.apply(presence.event_id, presence.timestamp, presence.status) == LatestOutcome::Newest {
            self.note_delivery(presence.timestamp);
            self.send(None, Some(presence.workspace_id));
        }
    }

    /// Counts a delivery, adds it to the recent ones and sends it to all subscribers.
    fn record(&mut self, mut delivery: DeliveryRecord, workspace: Option<WorkspaceId>) {
        if delivery.outcome != Outcome::Rejected {
            self.note_delivery(Timestamp::now());
        }
        let stats = &mut self.stats;
        match delivery.outcome {
            Outcome::Changed => stats.handled += 1,
            Outcome::Late => (stats.handled, stats.late) = (stats.handled + 1, stats.late + 1),
            Outcome::Unknown => (stats.handled, stats.unknown) = (stats.handled + 1, stats.unknown + 1),
            Outcome::Duplicate => stats.duplicates += 1,
            // `record_rejection` has counted it by reason.
            Outcome::Rejected => {}
        }
        // Repeated rejections share one record: anybody can send forged requests, and they must not push
        // signed deliveries out of the list.
        match self.recent.back().filter(|last| last.is_same_rejection(&delivery)) {
            Some(last) => {
                (delivery.number, delivery.count) = (last.number, last.count + 1);
                self.recent.pop_back();
            }
            None => {
                self.last_number += 1;
                delivery.number = self.last_number;
            }
        }
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(delivery.clone());
        self.send(Some(delivery), workspace);
    }

    /// Keeps the time of the last delivery. An event's timestamp can be in the future, the time of its
    /// delivery cannot.
    fn note_delivery(&mut self, at: Timestamp) {
        let at = at.min(Timestamp::now());
        if self.last_delivery.is_none_or(|last| last < at) {
            self.last_delivery = Some(at);
            self.stats.last_delivery_at = Some(at.to_string());
        }
    }

    /// Sends a change to all subscribers.
    fn send(&self, delivery: Option<DeliveryRecord>, workspace: Option<WorkspaceId>) {
        if let Some(updates) = &self.updates
            && updates.receiver_count() > 0
        {
            let workspace = workspace.map(|id| self.workspace(&id));
            let update = to_json(&Update { delivery, workspace, stats: &self.stats });
            // Sending fails only without receivers.
            let _ = updates.send(update.into());
        }
    }

    /// Named workspaces in the order of the names file, then the others in the order of their ids.
    fn workspaces(&self) -> Vec<Workspace> {
        let mut unnamed: Vec<_> = self.presence.keys().filter(|id| self.names.get(id).is_none()).collect();
        unnamed.sort();
        self.names.ids().chain(unnamed).map(|id| self.workspace(id)).collect()
    }

    fn workspace(&self, id: &WorkspaceId) -> Workspace {
        let (name, latest) = (self.names.get(id), self.presence.get(id));
        Workspace {
            id: id.to_string(),
            name: name.map(|name| name.name.clone()),
            floor: name.and_then(|name| name.floor.clone()),
            status: latest.and_then(Latest::value).map(PresenceStatus::to_string),
            since: latest.and_then(Latest::timestamp).map(|since| since.to_string()),
        }
    }
}
