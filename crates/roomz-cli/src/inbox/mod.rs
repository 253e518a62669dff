pub(crate) mod args;
mod connect;

use std::collections::HashSet;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use roomz_inbox::{Inbox, InboxEntry, InboxError, InboxState, InboxStats};
use roomz_webhook::store::ClaimKey;
use serde_json::{Map, Value, json};

use self::args::{ChangeArgs, InboxArgs, InboxCommand, ListArgs, ShowArgs};
use self::connect::{connect, database_error};
use crate::escape::{escape, escape_truncated};
use crate::event_text::describe;
use crate::output::{self, DIM_STYLE};
use crate::saved_delivery::body_member;

/// A message names at most so many other namespaces.
const MAX_NAMED: usize = 5;
/// How many dead letters are read at once.
const PAGE: u32 = 100;
/// A longer error is cut in a list.
const MAX_ERROR_CHARS: usize = 100;

pub(crate) async fn run(args: InboxArgs) -> Result<()> {
    let inbox = connect(args.database).await?;
    match args.command {
        InboxCommand::List(args) => list(&inbox, &args).await,
        InboxCommand::Show(args) => show(&inbox, &args).await,
        InboxCommand::Retry(args) => change(&inbox, &args, true).await,
        InboxCommand::Discard(args) => change(&inbox, &args, false).await,
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
        let place = namespace.map_or("any namespace".to_owned(), |name| format!("namespace {name:?}"));
        output::print_line(&format!("no event is {} ({place})", state_name(state)))?;
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
    let namespace = args.namespace.as_str();
    let found = inbox.get(&ClaimKey::new(namespace.into(), args.id)).await.map_err(database_error)?;
    let id = args.id;
    let entry = found.with_context(|| {
        format!("{id} is not in the inbox (namespace {namespace:?}); check --namespace and the database")
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

/// Makes dead letters available to the workers again, or discards them.
async fn change(inbox: &Inbox, args: &ChangeArgs, is_retry: bool) -> Result<()> {
    let (verb, participle) = if is_retry { ("retry", "retried") } else { ("discard", "discarded") };
    let apply =
        async |key: &ClaimKey| if is_retry { inbox.retry(key).await } else { inbox.discard(key).await };
    if args.all {
        let namespace = args.namespaces.namespace();
        // A retried event can become a dead letter again meanwhile. It must not be retried forever.
        let (mut changed, mut seen) = (0, HashSet::new());
        let result: Result<(), InboxError> = async {
            loop {
                let mut page = entries(inbox, namespace, InboxState::Dead, PAGE).await?;
                page.retain(|entry| seen.insert(entry.key.clone()));
                if page.is_empty() {
                    return Ok(());
                }
                for entry in page {
                    // Another process may have retried or discarded it.
                    changed += u64::from(apply(&entry.key).await?);
                }
            }
        }
        .await;
        let noun = if changed == 1 { "dead letter" } else { "dead letters" };
        output::print_line(&format!("{changed} {noun} {participle}"))?;
        result.map_err(database_error)?;
        // A script must notice that it looked in the wrong place.
        if let Some(name) = namespace.filter(|_| changed == 0)
            && let Some(others) = other_namespaces(inbox, name, InboxState::Dead).await?
        {
            bail!("nothing to {verb} in the namespace {name:?}; {others}");
        }
    }
    let namespace = args.namespaces.namespace.as_str();
    let mut failed = Vec::new();
    for id in &args.ids {
        let key = ClaimKey::new(namespace.into(), *id);
        if apply(&key).await.map_err(database_error)? {
            output::print_line(&format!("{participle} {id}"))?;
            continue;
        }
        failed.push(match inbox.get(&key).await.map_err(database_error)? {
            None => format!("{id} is not in the inbox (namespace {namespace:?})"),
            Some(entry) => format!("{id} is {}, not a dead letter", state_name(entry.state)),
        });
    }
    let (count, all, problems) = (failed.len(), args.ids.len(), failed.join(", "));
    ensure!(count == 0, "cannot {verb} {count} of {all} events: {problems}; see `roomz inbox list`");
    Ok(())
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
