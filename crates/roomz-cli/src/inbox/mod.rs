pub(crate) mod args;
mod connect;

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use roomz_inbox::{Inbox, InboxEntry, InboxState, InboxStats};
use roomz_webhook::store::ClaimKey;
use serde_json::{Value, json};

use self::args::{ChangeArgs, InboxArgs, InboxCommand, ListArgs, ShowArgs};
use self::connect::connect;
use crate::escape::{escape, escape_truncated};
use crate::event_text::describe;
use crate::output::{self, DIM_STYLE};
use crate::saved_delivery::body_member;

/// The namespace of a layer without a setting.
const DEFAULT_NAMESPACE: &str = "roomz";
/// How many dead letters are changed at once.
const MAX_CHANGED: u32 = 100_000;
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
    let entries = entries(inbox, args.namespace.as_deref(), args.state, args.limit).await?;
    if args.json {
        entries.iter().try_for_each(|entry| output::print_values(&values(entry), true))?;
    } else if entries.is_empty() {
        output::print_line(&format!("no event is {}", state_name(args.state)))?;
    } else {
        output::print(table(&entries).as_bytes())?;
    }
    if entries.len() == args.limit as usize {
        output::print_error(&format!("the list ends after --limit {}: there may be more events", args.limit));
    }
    Ok(())
}

/// The events of one namespace, or of all. Fails when only other namespaces have events, because the name may
/// be misspelled.
async fn entries(
    inbox: &Inbox,
    namespace: Option<&str>,
    state: InboxState,
    limit: u32,
) -> Result<Vec<InboxEntry>> {
    let Some(namespace) = namespace else { return Ok(inbox.list(state, limit).await?) };
    let entries = inbox.list_namespace(namespace, state, limit).await?;
    if entries.is_empty() && inbox.list_namespace(namespace, InboxState::Done, 1).await?.is_empty() {
        let names: Vec<_> = inbox.stats_by_namespace().await?.into_iter().map(|(name, _)| name).collect();
        ensure!(
            names.is_empty() || names.iter().any(|name| name == namespace),
            "the namespace {namespace:?} has no event; correct --namespace: events are in {}",
            escape_truncated(&names.join(", "), 500)
        );
    }
    Ok(entries)
}

/// Formats a table with a header. All text of events is escaped.
fn table(entries: &[InboxEntry]) -> String {
    let mut table = format!(
        "{DIM_STYLE}{:<36}  {:<24}  {:<24}  {:>8}  {:<16}  last error{DIM_STYLE:#}\n",
        "event", "received", "due", "attempts", "namespace"
    );
    for InboxEntry { key, received, due, attempts, error, .. } in entries {
        let (id, namespace) = (key.id(), escape(key.namespace()));
        let error = escape_truncated(error.as_deref().unwrap_or_default(), MAX_ERROR_CHARS);
        let line = format!("{id}  {received:.3}  {due:.3}  {attempts:>8}  {namespace:<16}  {error}");
        let _ = writeln!(table, "{}", line.trim_end());
    }
    table
}

async fn show(inbox: &Inbox, args: &ShowArgs) -> Result<()> {
    let (id, namespace) = (args.id, args.namespace.as_str());
    let entry = inbox.get(&ClaimKey::new(namespace.into(), id)).await?.with_context(|| {
        format!("{id} is not in the inbox (namespace {namespace:?}); use --namespace, as `roomz inbox list` shows it")
    })?;
    output::print_values(&values(&entry), args.json)
}

fn values(entry: &InboxEntry) -> Value {
    let (body_name, body) = body_member(&entry.body);
    json!({
        "id": entry.key.id().to_string(),
        "namespace": entry.key.namespace(),
        "state": state_name(entry.state),
        "received": format!("{:.3}", entry.received),
        "due": format!("{:.3}", entry.due),
        "attempts": entry.attempts,
        "error": entry.error,
        "content": describe(&entry.body),
        body_name: body,
    })
}

const fn state_name(state: InboxState) -> &'static str {
    match state {
        InboxState::Waiting => "waiting",
        InboxState::Running => "running",
        InboxState::Done => "done",
        InboxState::Dead => "dead",
    }
}

/// Makes dead letters available to the workers again, or discards them.
async fn change(inbox: &Inbox, args: &ChangeArgs, is_retry: bool) -> Result<()> {
    let (verb, participle) = if is_retry { ("retry", "retried") } else { ("discard", "discarded") };
    let keys: Vec<_> = if args.all {
        let entries = entries(inbox, args.namespace.as_deref(), InboxState::Dead, MAX_CHANGED).await?;
        entries.into_iter().map(|entry| entry.key).collect()
    } else {
        let namespace = args.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        args.ids.iter().map(|id| ClaimKey::new(namespace.into(), *id)).collect()
    };
    let (mut changed, mut failed) = (0, Vec::new());
    for key in &keys {
        let result = if is_retry { inbox.retry(key).await } else { inbox.discard(key).await };
        if result.with_context(|| format!("dead letters {participle}: {changed}, then"))? {
            changed += 1;
        } else if !args.all {
            // With --all, another process may have changed it.
            failed.push(match inbox.get(key).await? {
                None => format!("{} is not in the inbox (--namespace {})", key.id(), key.namespace()),
                Some(entry) => format!("{} is {}, not a dead letter", key.id(), state_name(entry.state)),
            });
        }
    }
    output::print_line(&format!("dead letters {participle}: {changed}"))?;
    let (count, all, problems) = (failed.len(), keys.len(), failed.join(", "));
    ensure!(count == 0, "cannot {verb} {count} of {all} events: {problems}; see `roomz inbox list`");
    if all == MAX_CHANGED as usize {
        output::print_error("there may be more dead letters: run the command again");
    }
    Ok(())
}

async fn stats(inbox: &Inbox, as_json: bool) -> Result<()> {
    let values = |stats: &InboxStats| {
        [
            ("waiting", json!(stats.waiting)),
            ("running", json!(stats.running)),
            ("dead", json!(stats.dead)),
            ("oldest_seconds", json!(stats.oldest.as_secs_f64())),
        ]
    };
    let namespaces = inbox.stats_by_namespace().await?;
    let each = namespaces.iter().map(|(name, stats)| (name.as_str(), Value::from_iter(values(stats))));
    let all = values(&inbox.stats().await?).into_iter().chain([("namespaces", each.collect())]);
    output::print_values(&all.collect(), as_json)
}
