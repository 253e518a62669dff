pub(crate) mod args;
mod change;
mod connect;

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use roomz_inbox::{Inbox, InboxEntry, InboxError, InboxState, InboxStats};
use roomz_webhook::store::ClaimKey;
use serde_json::{Map, Value, json};

use self::args::{InboxArgs, InboxCommand, ListArgs, ShowArgs};
use self::change::Change;
use self::connect::{connect, database_error};
use crate::escape::{escape, escape_truncated};
use crate::event_text::describe;
use crate::output::{self, DIM_STYLE};
use crate::saved::body_member;

/// A message names at most so many other namespaces.
const MAX_NAMED: usize = 5;
/// A longer error is cut in a list.
const MAX_ERROR_CHARS: usize = 100;

pub(crate) async fn run(args: InboxArgs) -> Result<()> {
    let inbox = connect(args.database).await?;
    match args.command {
        InboxCommand::List(args) => list(&inbox, &args).await,
        InboxCommand::Show(args) => show(&inbox, &args).await,
        InboxCommand::Retry(args) => change::run(Change::Retry, &inbox, &args).await,
        InboxCommand::Discard(args) => change::run(Change::Discard, &inbox, &args).await,
        InboxCommand::Stats { json } => stats(&inbox, json).await,
    }
}

async fn list(inbox: &Inbox, args: &ListArgs) -> Result<()> {
    let (state, namespace) = (args.state, args.namespaces.namespace());
    // One more than the limit shows whether there are more.
    let mut entries = entries(inbox, namespace, state, args.limit + 1).await.map_err(database_error)?;
    let has_more = entries.len() > args.limit as usize;
    entries.truncate(args.limit as usize);
    if args.json {
        entries.iter().try_for_each(|entry| output::print_values(&values(entry), true))?;
    } else if entries.is_empty() {
        let what = match state {
            InboxState::Dead => "dead letters".to_owned(),
            state => format!("events in the state {}", state_name(state)),
        };
        let place = namespace.map_or("any namespace".to_owned(), |name| format!("namespace {name:?}"));
        output::print_line(&format!("no {what} ({place})"))?;
    } else {
        output::print(table(&entries).as_bytes())?;
    }
    if let Some(namespace) = namespace.filter(|_| entries.is_empty())
        && let Some(others) = other_namespaces(inbox, namespace, state).await?
    {
        output::print_error(&others);
    }
    if has_more {
        output::print_error(&format!("there are more than {} events: raise --limit", args.limit));
    }
    Ok(())
}

/// The events of one namespace, or of all.
async fn entries(
    inbox: &Inbox,
    namespace: Option<&str>,
    state: InboxState,
    limit: u32,
) -> Result<Vec<InboxEntry>, InboxError> {
    match namespace {
        Some(namespace) => inbox.list_namespace(namespace, state, limit).await,
        None => inbox.list(state, limit).await,
    }
}

/// Formats a table with a header. All text of events is escaped.
fn table(entries: &[InboxEntry]) -> String {
    let names = || entries.iter().map(|entry| escape(entry.key.namespace()));
    let width = names().map(|name| name.chars().count()).max().unwrap_or_default().max("namespace".len());
    let mut table = format!(
        "{DIM_STYLE}{:<36}  {:<24}  {:<24}  {:>8}  {:<width$}  last error{DIM_STYLE:#}\n",
        "event", "received", "due", "attempts", "namespace"
    );
    for (InboxEntry { key, received, due, attempts, error, .. }, name) in entries.iter().zip(names()) {
        let (id, error) = (key.id(), escape_truncated(error.as_deref().unwrap_or_default(), MAX_ERROR_CHARS));
        let line = format!("{id}  {received:.3}  {due:.3}  {attempts:>8}  {name:<width$}  {error}");
        let _ = writeln!(table, "{}", line.trim_end());
    }
    table
}

async fn show(inbox: &Inbox, args: &ShowArgs) -> Result<()> {
    let namespace = args.namespace.namespace.as_str();
    let found = inbox.get(&ClaimKey::new(namespace.into(), args.id)).await.map_err(database_error)?;
    let entry = found.with_context(|| {
        format!(
            "the event {} is not in the inbox (namespace {namespace:?}); check the id, --namespace and the database",
            args.id
        )
    })?;
    output::print_values(&values(&entry), args.json)
}

fn values(entry: &InboxEntry) -> [(&'static str, Value); 9] {
    let (body_name, body) = body_member(&entry.body);
    [
        ("id", entry.key.id().to_string().into()),
        ("namespace", entry.key.namespace().into()),
        ("state", state_name(entry.state).into()),
        ("received", format!("{:.3}", entry.received).into()),
        ("due", format!("{:.3}", entry.due).into()),
        ("attempts", entry.attempts.into()),
        ("error", json!(entry.error)),
        ("content", describe(&entry.body).into()),
        (body_name, body.into()),
    ]
}

const fn state_name(state: InboxState) -> &'static str {
    match state {
        InboxState::Waiting => "waiting",
        InboxState::Running => "running",
        InboxState::Done => "done",
        InboxState::Dead => "dead",
    }
}

/// Says which other namespaces have events in this state, if any has. Done events are not counted.
async fn other_namespaces(inbox: &Inbox, namespace: &str, state: InboxState) -> Result<Option<String>> {
    let count = |stats: &InboxStats| match state {
        InboxState::Waiting => stats.waiting,
        InboxState::Running => stats.running,
        InboxState::Done => 0,
        InboxState::Dead => stats.dead,
    };
    let all = inbox.stats_by_namespace().await.map_err(database_error)?;
    let others = all.iter().filter(|(name, stats)| name != namespace && count(stats) > 0).take(MAX_NAMED);
    let others: Vec<_> = others.map(|(name, stats)| format!("{name:?} has {}", count(stats))).collect();
    Ok((!others.is_empty()).then(|| format!("{}: use --namespace or --all-namespaces", others.join(", "))))
}

async fn stats(inbox: &Inbox, as_json: bool) -> Result<()> {
    let namespaces = inbox.stats_by_namespace().await.map_err(database_error)?;
    let values = |stats: &InboxStats| {
        [
            ("waiting", json!(stats.waiting)),
            ("running", json!(stats.running)),
            ("dead", json!(stats.dead)),
            ("oldest_seconds", json!(stats.oldest.as_secs_f64())),
        ]
    };
    let mut total = InboxStats::default();
    let mut each = Map::new();
    for (name, stats) in &namespaces {
        total.waiting += stats.waiting;
        total.running += stats.running;
        total.dead += stats.dead;
        total.oldest = total.oldest.max(stats.oldest);
        each.insert(name.clone(), values(stats).into_iter().collect());
    }
    let all = values(&total).into_iter().chain([("namespaces", each.into())]);
    output::print_values(&all.collect::<Vec<_>>(), as_json)
}
