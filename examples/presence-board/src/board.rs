//! What is known of the building. Each delivery changes it under one lock, and is told to every reader in the same
//! order; a reader starts with all of it, so that it can come and go at any time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roomz_axum::Event;
use roomz_axum::{EventData, Latest, LatestOutcome, PresenceStatus, RejectionKind, Timestamp, WorkspaceId};
use tokio::sync::broadcast;

use crate::names::Names;
use crate::report::{Kind, News, Seen, Snapshot, Stats, Workspace};

/// How many deliveries a page can look back on.
const RECENT: usize = 50;
/// How many a reader may fall behind before it starts anew. They are kept once for all readers.
const BEHIND: usize = 128;

/// The board. Clones are the same board.
#[derive(Clone)]
pub struct Board(Arc<Mutex<State>>);

struct State {
    names: Names,
    building: HashMap<WorkspaceId, Latest<PresenceStatus>>,
    stats: Stats,
    recent: VecDeque<Seen>,
    seen: u64,
    /// Gone when the board is closed, which ends every reader.
    readers: Option<broadcast::Sender<Arc<str>>>,
}

impl Board {
    /// A board on which nothing has happened.
    pub fn new(names: Names) -> Self {
        Self(Arc::new(Mutex::new(State {
            names,
            building: HashMap::new(),
            stats: Stats::default(),
            recent: VecDeque::new(),
            seen: 0,
            readers: Some(broadcast::Sender::new(BEHIND)),
        })))
    }

    /// Takes an event that was verified and not seen before.
    pub fn apply(&self, event: &Event) {
        let mut state = self.lock();
        let EventData::WorkspacePresenceChanged(change) = &event.data else {
            state.tell(Seen::of(Kind::Unknown, event.event_type.to_string()), None);
            return;
        };
        let workspace = state.building.entry(change.workspace_id).or_default();
        let kind = match workspace.apply(event.id, event.timestamp, change.presence_status.clone()) {
            LatestOutcome::Newest => Kind::Changed,
            LatestOutcome::Late => {
                metrics::counter!("presence_board_late_total").increment(1);
                Kind::Late
            }
            // Its first handler died before the store was told.
            LatestOutcome::Duplicate => Kind::Duplicate,
        };
        // Displayed, a status of unknown text is cut and has no control characters.
        let mut seen = Seen::of(kind, change.presence_status.to_string());
        seen.workspace = Some(change.workspace_id.to_string());
        seen.timestamp = Some(event.timestamp.to_string());
        state.tell(seen, Some(change.workspace_id));
    }

    /// Takes note of an event that was handled before.
    pub fn duplicate(&self) {
        self.lock().tell(Seen::of(Kind::Duplicate, String::new()), None);
    }

    /// Takes note of a refusal.
    pub fn refused(&self, kind: RejectionKind) {
        let mut state = self.lock();
        *state.stats.refused.entry(kind.as_str()).or_default() += 1;
        state.tell(Seen::of(Kind::Refused, kind.as_str().to_owned()), None);
    }

    /// Every workspace that has a name or an event.
    pub fn presence(&self) -> serde_json::Value {
        serde_json::json!({ "workspaces": self.lock().workspaces() })
    }

    /// What was counted since the start.
    pub fn stats(&self) -> Stats {
        self.lock().stats.clone()
    }

    /// All that is known, as JSON, and whatever comes after it. `None` once the board is closed.
    pub fn subscribe(&self) -> Option<(String, broadcast::Receiver<Arc<str>>)> {
        let state = self.lock();
        let news = state.readers.as_ref()?.subscribe();
        let snapshot = Snapshot {
            now: Timestamp::now().to_string(),
            workspaces: state.workspaces(),
            stats: state.stats.clone(),
            recent: state.recent.iter().cloned().collect(),
        };
        Some((json(&snapshot), news))
    }

    /// Ends every reader, now and later: a stream that never ends would hold up the stop of the server.
    pub fn close(&self) {
        self.lock().readers = None;
    }

    /// Nothing panics while it holds the lock; if it did, an old board would be better than none.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self, mut seen: Seen, workspace: Option<WorkspaceId>) {
        match seen.kind {
            Kind::Duplicate => self.stats.duplicates += 1,
            Kind::Refused => {}
            Kind::Changed => self.stats.handled += 1,
            Kind::Late => {
                (self.stats.handled, self.stats.late) = (self.stats.handled + 1, self.stats.late + 1)
            }
            Kind::Unknown => {
                (self.stats.handled, self.stats.unknown) = (self.stats.handled + 1, self.stats.unknown + 1);
            }
        }
        // Anyone can send a thousand forgeries; they shall not wash away what was signed.
        match self.recent.back().filter(|last| last.is_refused_as(&seen)) {
            Some(last) => {
                (seen.number, seen.times) = (last.number, last.times + 1);
                self.recent.pop_back();
            }
            None => {
                self.seen += 1;
                seen.number = self.seen;
            }
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(seen.clone());
        if let Some(readers) = &self.readers
            && readers.receiver_count() > 0
        {
            let workspace = workspace.map(|id| self.workspace(&id));
            let news = json(&News { seen, workspace, stats: &self.stats });
            // Without a reader there is nobody to miss it.
            let _ = readers.send(news.into());
        }
    }

    fn workspaces(&self) -> Vec<Workspace> {
        let mut nameless: Vec<_> = self.building.keys().filter(|id| self.names.get(id).is_none()).collect();
        nameless.sort();
        self.names.ids().chain(nameless).map(|id| self.workspace(id)).collect()
    }

    fn workspace(&self, id: &WorkspaceId) -> Workspace {
        let (name, latest) = (self.names.get(id), self.building.get(id));
        Workspace {
            id: id.to_string(),
            name: name.map(|name| name.name.clone()),
            floor: name.and_then(|name| name.floor.clone()),
            status: latest.and_then(Latest::value).map(PresenceStatus::to_string),
            since: latest.and_then(Latest::timestamp).map(|since| since.to_string()),
        }
    }
}

fn json(report: &impl serde::Serialize) -> String {
    // The reports are of text and numbers: nothing in them can fail.
    serde_json::to_string(report).unwrap_or_default()
}
