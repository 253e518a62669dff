//! Everything that happened to each event: what the sender saw, the calls of its handler, its rows, and its
//! state in the inbox.

use std::collections::{HashMap, HashSet};

use http::StatusCode;
use roomz_tests::fleet::{Fleet, Run};
use roomz_tests::inbox::{EFFECTS, Effect, LINES, Line};
use roomz_tests::sender::{Request, Sent};

use crate::inbox::database::{self, Entry, Row};

/// All events of a scenario.
pub(crate) struct History {
    /// Events by id, including those that were never sent.
    pub(crate) events: HashMap<String, EventHistory>,
    pub(crate) requests: Vec<Request>,
    /// Log lines of the processes.
    pub(crate) lines: Vec<Line>,
}

/// One event. Its calls are in the order in which they started.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventHistory {
    pub(crate) was_sent: bool,
    pub(crate) was_accepted: bool,
    /// It kills each process that handles it.
    pub(crate) is_killing: bool,
    pub(crate) calls: Vec<Run>,
    pub(crate) effects: HashSet<Effect>,
    pub(crate) rows: Vec<Row>,
    pub(crate) entry: Option<Entry>,
    pub(crate) lines: Vec<Line>,
}

impl History {
    pub(crate) async fn read(sent: Sent, fleet: &Fleet, url: &str, killing: &[String]) -> Self {
        let mut events: HashMap<String, EventHistory> = HashMap::new();
        for (id, delivered) in sent.events {
            let event = events.entry(id).or_default();
            (event.was_sent, event.was_accepted) = (true, delivered.accepted.is_some());
        }
        for id in killing {
            events.entry(id.clone()).or_default().is_killing = true;
        }
        for call in fleet.runs() {
            events.entry(call.id.clone()).or_default().calls.push(call);
        }
        for effect in fleet.log::<Effect>(EFFECTS) {
            events.entry(effect.id.clone()).or_default().effects.insert(effect);
        }
        for (id, row) in database::rows(url).await {
            events.entry(id).or_default().rows.push(row);
        }
        for (id, entry) in database::entries(url).await {
            events.entry(id).or_default().entry = Some(entry);
        }
        let lines: Vec<Line> = fleet.log(LINES);
        for line in &lines {
            if let Some(event) = events.get_mut(line.field("event_id")) {
                event.lines.push(line.clone());
            }
        }
        for event in events.values_mut() {
            event.calls.sort_by_key(|call| call.started);
        }
        Self { events, requests: sent.requests, lines }
    }

    /// The number of requests with this status. `None`: the connection broke, or the request timed out.
    pub(crate) fn requests_with(&self, status: Option<StatusCode>) -> usize {
        self.requests.iter().filter(|request| request.status == status).count()
    }

    /// Operations of the inbox that the database failed.
    pub(crate) fn database_errors(&self, operation: &str) -> Vec<&Line> {
        let is_error =
            |line: &&Line| line.message == "inbox database failed" && line.field("operation") == operation;
        self.lines.iter().filter(is_error).collect()
    }
}
