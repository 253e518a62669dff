//! The JSON messages that the page and other clients receive.

use std::collections::BTreeMap;

use roomz_axum::Timestamp;
use serde::Serialize;

/// The whole state: the first message on `/events`.
#[derive(Serialize)]
pub struct Snapshot {
    /// The server's time. The page uses it to show correct durations on a display whose clock is wrong.
    pub now: String,
    /// Whether the workspaces are those of the demo.
    pub simulated: bool,
    pub workspaces: Vec<Workspace>,
    pub stats: Stats,
    /// The latest deliveries, oldest first.
    pub recent: Vec<DeliveryRecord>,
}

/// Sent when nothing else was sent for a while, so that clients notice a silent server.
#[derive(Serialize)]
pub struct Heartbeat {
    /// The server's time.
    pub now: String,
}

/// A change: of a delivery to this instance, or, without `delivery`, of another instance or of the inbox.
#[derive(Serialize)]
pub struct Update<'a> {
    pub delivery: Option<DeliveryRecord>,
    pub workspace: Option<Workspace>,
    pub stats: &'a Stats,
}

/// One workspace. `status` and `since` are absent until its first event.
#[derive(Serialize)]
pub struct Workspace {
    pub id: String,
    pub name: Option<String>,
    pub floor: Option<String>,
    /// `Free`, `Busy`, or another text from ROOMZ, escaped and truncated.
    pub status: Option<String>,
    /// The timestamp of the newest event.
    pub since: Option<String>,
}

/// Counters since the start of the process.
#[derive(Clone, Default, Serialize)]
pub struct Stats {
    /// Events that the handler received, including late and unknown ones.
    pub handled: u64,
    /// Deliveries of events that were handled before.
    pub duplicates: u64,
    /// Events older than the displayed status. They do not change it.
    pub late: u64,
    /// Events with an unknown type or unreadable data.
    pub unknown: u64,
    /// When the last delivery that was not rejected was received. A change by another instance counts with
    /// the timestamp of its event.
    pub last_delivery_at: Option<String>,
    /// Rejections by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Since when the store is unavailable, so that deliveries are rejected. Absent while it is available.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_unavailable_since: Option<String>,
    /// The numbers of the inbox. Absent without `--inbox`, and while it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbox: Option<InboxCounts>,
}

/// The events in the inbox that are not done.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InboxCounts {
    pub waiting: u64,
    pub running: u64,
    /// Dead letters.
    pub dead: u64,
    /// The age of the oldest event that waits or runs.
    pub oldest_seconds: u64,
}

/// One line in the list of deliveries.
#[derive(Clone, Serialize)]
pub struct DeliveryRecord {
    /// Increases by one. A record with the same number replaces the previous one.
    pub number: u64,
    /// How many deliveries this record stands for.
    pub count: u64,
    pub received_at: String,
    pub outcome: Outcome,
    /// The status; the reason of a rejection; or the type of an unknown event. Escaped and truncated.
    pub detail: String,
    pub workspace: Option<String>,
    /// The event's own timestamp.
    pub timestamp: Option<String>,
}

/// How a delivery ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Changed,
    Late,
    Duplicate,
    Unknown,
    Rejected,
}

/// Converts a message to JSON.
pub fn to_json(message: &impl Serialize) -> String {
    // Serialization cannot fail: the messages contain only text and numbers.
    serde_json::to_string(message).unwrap_or_default()
}

impl Heartbeat {
    pub fn now() -> Self {
        Self { now: Timestamp::now().to_string() }
    }
}

impl DeliveryRecord {
    pub fn new(outcome: Outcome, detail: String) -> Self {
        let received_at = Timestamp::now().to_string();
        Self { number: 0, count: 1, received_at, outcome, detail, workspace: None, timestamp: None }
    }

    /// Whether both records are rejections for the same reason.
    pub fn is_same_rejection(&self, other: &Self) -> bool {
        self.outcome == Outcome::Rejected && other.outcome == Outcome::Rejected && self.detail == other.detail
    }
}
