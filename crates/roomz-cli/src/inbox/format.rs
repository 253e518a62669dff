//! Formats the events of an inbox, for a terminal and as JSON.

use std::fmt::Write as _;

use anyhow::Result;
use roomz_inbox::{InboxEntry, InboxState, InboxStats};
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
pub(super) fn format_list(state: InboxState, entries: &[InboxEntry], with_namespace: bool) -> String {
    // The column of the namespace is the last but one.
    let names = entries.iter().map(|entry| escape(entry.key.namespace()));
    let names: Vec<_> = names.map(|name| if with_namespace { name + "  " } else { String::new() }).collect();
    let title = if with_namespace { "namespace  " } else { "" };
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let width = if with_namespace { width.max(title.len()) } else { 0 };
    let mut table = String::new();
    let _ = writeln!(
        table,
        "{DIM_STYLE}{:<36}  {:<24}  {:<24}  {:>8}  {title:<width$}last error{DIM_STYLE:#}",
        "event",
        "received",
        due_name(state),
        "attempts"
    );
    for (entry, name) in entries.iter().zip(names) {
        let error = entry.error.as_deref().unwrap_or_default();
        let line = format!(
            "{}  {:.3}  {:.3}  {:>8}  {name:<width$}{}",
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

/// The sum of all namespaces.
pub(super) fn total(namespaces: &[(String, InboxStats)]) -> InboxStats {
    let mut total = InboxStats::default();
    for (_, stats) in namespaces {
        total.waiting += stats.waiting;
        total.running += stats.running;
        total.dead += stats.dead;
        total.oldest = total.oldest.max(stats.oldest);
    }
    total
}

/// Formats the numbers of all namespaces, and a table with those of each. Names are escaped.
pub(super) fn format_stats(namespaces: &[(String, InboxStats)]) -> String {
    let InboxStats { waiting, running, dead, oldest, .. } = total(namespaces);
    let mut text = format!(
        "waiting       {waiting:>10}\nrunning       {running:>10}\ndead letters  {dead:>10}\n\
         oldest        {:>10.1} s\n",
        oldest.as_secs_f64()
    );
    if !namespaces.is_empty() {
        let _ = writeln!(
            text,
            "\n{DIM_STYLE}{:>10}  {:>10}  {:>12}  {:>12}  namespace{DIM_STYLE:#}",
            "waiting", "running", "dead letters", "oldest"
        );
    }
    for (name, InboxStats { waiting, running, dead, oldest, .. }) in namespaces {
        let _ = writeln!(
            text,
            "{waiting:>10}  {running:>10}  {dead:>12}  {:>10.1} s  {}",
            oldest.as_secs_f64(),
            escape(name)
        );
    }
    text
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
