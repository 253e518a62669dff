pub(crate) mod args;
mod change;
mod connect;
mod format;

use anyhow::{Context as _, Result};
use roomz_inbox::{Inbox, InboxState, InboxStats};
use roomz_webhook::store::ClaimKey;
use serde_json::{Map, json};

use self::args::{InboxArgs, InboxCommand, ListArgs, ShowArgs, StatsArgs};
use self::change::Change;
use self::connect::{connect, database_error};
use crate::escape::escape_json;
use crate::output;

/// An error names at most this many other namespaces.
const MAX_NAMED: usize = 5;

pub(crate) async fn run(args: InboxArgs) -> Result<()> {
    match args.command {
        InboxCommand::List(args) => list(&args).await,
        InboxCommand::Show(args) => show(&args).await,
        InboxCommand::Retry(args) => change::run(Change::Retry, &args).await,
        InboxCommand::Discard(args) => change::run(Change::Discard, &args).await,
        InboxCommand::Stats(args) => stats(&args).await,
    }
}

async fn list(args: &ListArgs) -> Result<()> {
    let inbox = connect(&args.database).await?;
    let (state, namespace) = (args.state, args.namespaces.namespace());
    // One more than the limit shows whether there are more.
    let limit = args.limit + 1;
    let entries = match namespace {
        Some(namespace) => inbox.list_namespace(namespace, state, limit).await,
        None => inbox.list(state, limit).await,
    };
    let mut entries = entries.map_err(database_error)?;
    let has_more = entries.len() > args.limit as usize;
    entries.truncate(args.limit as usize);
    if args.json {
        output::print(entries.iter().map(format::format_json).collect::<Result<String>>()?.as_bytes())?;
    } else if entries.is_empty() {
        let what = match state {
            InboxState::Dead => "dead letters".to_owned(),
            state => format!("events in the state {}", format::state_name(state)),
        };
        let place = namespace.map_or("any namespace".to_owned(), |name| format!("namespace {name:?}"));
        output::print_line(&format!("no {what} ({place})"))?;
    } else {
        output::print(format::format_list(state, &entries, namespace.is_none()).as_bytes())?;
    }
    if let Some(namespace) = namespace.filter(|_| entries.is_empty())
        && let Some(others) = other_namespaces(&inbox, namespace, state).await?
    {
        output::print_notice(&others);
    }
    if has_more {
        output::print_notice(&format!("there are more than {} events: raise --limit", args.limit));
    }
    Ok(())
}

async fn show(args: &ShowArgs) -> Result<()> {
    let inbox = connect(&args.database).await?;
    let namespace = args.namespace.namespace.as_str();
    let found = inbox.get(&ClaimKey::new(namespace.into(), args.id)).await.map_err(database_error)?;
    let entry = found.with_context(|| {
        format!(
            "the event {} is not in the inbox (namespace {namespace:?}); check the id, --namespace and the database",
            args.id
        )
    })?;
    let text = if args.json { format::format_json(&entry)? } else { format::format_entry(&entry) };
    output::print(text.as_bytes())
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
    let others = all.iter().filter(|(name, stats)| name != namespace && count(stats) > 0);
    let others: Vec<_> = others.map(|(name, stats)| format!("{name:?} has {}", count(stats))).collect();
    Ok((!others.is_empty()).then(|| {
        let shown = others.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = others.len().saturating_sub(MAX_NAMED);
        let more = if more > 0 { format!(", and {more} more namespaces") } else { String::new() };
        format!("{shown}{more}: use --namespace or --all-namespaces")
    }))
}

async fn stats(args: &StatsArgs) -> Result<()> {
    let namespaces = connect(&args.database).await?.stats_by_namespace().await.map_err(database_error)?;
    if args.json {
        let object = |stats: &InboxStats| {
            json!({
                "waiting": stats.waiting, "running": stats.running, "dead": stats.dead,
                "oldest_seconds": stats.oldest.as_secs_f64(),
            })
        };
        let mut total = object(&format::total(&namespaces));
        let each = namespaces.iter().map(|(name, stats)| (name.clone(), object(stats)));
        if let Some(total) = total.as_object_mut() {
            total.insert("namespaces".to_owned(), each.collect::<Map<_, _>>().into());
        }
        return output::print_line(&escape_json(&total.to_string()));
    }
    output::print(format::format_stats(&namespaces).as_bytes())
}
