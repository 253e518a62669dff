//! What the page and other readers are told, as JSON.

use std::collections::BTreeMap;

use roomz_axum::Timestamp;
use serde::Serialize;

/// All that is known: the first thing a reader gets.
#[derive(Serialize)]
pub struct Snapshot {
    /// The server's time, so that a display whose clock is wrong still says rightly how long ago something was.
    pub now: String,
    pub workspaces: Vec<Workspace>,
    pub stats: Stats,
    /// The last deliveries, oldest first.
    pub recent: Vec<Seen>,
}

/// One delivery, and what it changed.
#[derive(Serialize)]
pub struct News<'a> {
    pub seen: Seen,
    pub workspace: Option<Workspace>,
    pub stats: &'a Stats,
}

/// A workspace; without a status nothing was heard of it yet.
#[derive(Serialize)]
pub struct Workspace {
    pub id: String,
    pub name: Option<String>,
    pub floor: Option<String>,
    /// `Free`, `Busy`, or another text as ROOMZ sent it, escaped and cut.
    pub status: Option<String>,
    /// The time of the newest event.
    pub since: Option<String>,
}

/// What was counted since the start.
#[derive(Clone, Default, Serialize)]
pub struct Stats {
    /// Events that were handled, late and unknown ones included.
    pub handled: u64,
    /// Deliveries of events that had been handled.
    pub duplicates: u64,
    /// Events that were older than what was known, and changed nothing.
    pub late: u64,
    /// Events of a type, or with data, that cannot be read.
    pub unknown: u64,
    /// Refusals by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// One delivery.
#[derive(Clone, Serialize)]
pub struct Seen {
    /// Counts up. The same number again replaces what was said before.
    pub number: u64,
    /// How many deliveries it stands for.
    pub times: u64,
    /// When it arrived.
    pub at: String,
    pub kind: Kind,
    /// The status; for [`Kind::Refused`] the reason; for [`Kind::Unknown`] the event's type, escaped and cut.
    pub detail: String,
    pub workspace: Option<String>,
    /// The event's own time.
    pub timestamp: Option<String>,
}

/// What became of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Changed,
    Late,
    Duplicate,
    Unknown,
    Refused,
}

impl Seen {
    pub fn of(kind: Kind, detail: String) -> Self {
        let at = Timestamp::now().to_string();
        Self { number: 0, times: 1, at, kind, detail, workspace: None, timestamp: None }
    }

    /// Whether both are refusals for one reason.
    pub fn is_refused_as(&self, other: &Self) -> bool {
        self.kind == Kind::Refused && other.kind == Kind::Refused && self.detail == other.detail
    }
}
