//! Formats the events of an inbox, for a terminal and as JSON.

use std::fmt::Write as _;

use anyhow::Result;
use roomz_inbox::{InboxEntry, InboxState};
use serde::Serialize;

use crate::escape::{escape, escape_json, escape_truncated};
use crate::event_text::describe;
use crate::output::DIM_STYLE;
use crate::saved_delivery::serialize_body;

/// A longer error is cut in a list.
const MAX_ERROR_CHARS: usize = 100;

pub(super) const fn state_name(state: InboxState) -> &'static str {
    match state {
        InboxState::Waiting => "waiting",
        InboxState::Running => "running",
        InboxState::Done => "done",
        InboxState::Dead => "dead",
    }
}

/// What the time `due` of an event in this state is.
const fn due_name(state: InboxState) -> &'static str {
    match state {
        InboxState::Waiting => "next attempt",
        InboxState::Running => "lease ends",
        InboxState::Done | InboxState::Dead => "deleted after",
    }
}

/// Formats a table with a header. All text of events is escaped.
pub(super) fn format_list(state: InboxState, entries: &[InboxEntry]) -> String {
    let mut table = String::new();
    let _ = writeln!(
        table,
        "{DIM_STYLE}{:<36}  {:<24}  {:<24}  {:>8}  last error{DIM_STYLE:#}",
        "event",
        "received",
        due_name(state),
        "attempts"
    );
    for entry in entries {
        let error = entry.error.as_deref().unwrap_or_default();
        let line = format!(
            "{}  {:.3}  {:.3}  {:>8}  {}",
            entry.key.id(),
            entry.received,
            entry.due,
            entry.attempts,
            escape_truncated(error, MAX_ERROR_CHARS)
        );
        let _ = writeln!(table, "{}", line.trim_end());
    }
    table
}

/// Formats one event on several lines. All text of the event is escaped.
pub(super) fn format_entry(entry: &InboxEntry) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{:<13}  {value}", name);
    };
    row("event", &entry.key.id().to_string());
    row("namespace", &escape(entry.key.namespace()));
    row("state", state_name(entry.state));
    row("received", &format!("{:.3}", entry.received));
    row(due_name(entry.state), &format!("{:.3}", entry.due));
    row("attempts", &entry.attempts.to_string());
    row("last error", &entry.error.as_deref().map_or_else(|| "none".to_owned(), escape));
    row("content", &escape(&describe(&entry.body)));
    row("body", &escape(&String::from_utf8_lossy(&entry.body)));
    text
}

/// An event as a JSON object.
#[derive(Serialize)]
struct JsonEntry<'a> {
    id: String,
    namespace: &'a str,
    state: &'a str,
    received: String,
    due: String,
    attempts: u32,
    error: Option<&'a str>,
    #[serde(flatten, serialize_with = "serialize_body")]
    body: &'a [u8],
}

/// Formats one event as a JSON object on one line.
pub(super) fn format_json(entry: &InboxEntry) -> Result<String> {
    let object = JsonEntry {
        id: entry.key.id().to_string(),
        namespace: entry.key.namespace(),
        state: state_name(entry.state),
        received: format!("{:.3}", entry.received),
        due: format!("{:.3}", entry.due),
        attempts: entry.attempts,
        error: entry.error.as_deref(),
        body: &entry.body,
    };
    Ok(escape_json(&serde_json::to_string(&object)?) + "\n")
}
