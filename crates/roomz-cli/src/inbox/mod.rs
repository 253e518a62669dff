pub(crate) mod args;
mod change;
mod connect;
mod format;

use anyhow::{Context as _, Result};
use roomz_inbox::InboxState;
use roomz_webhook::store::ClaimKey;
use serde_json::json;

use self::args::{InboxArgs, InboxCommand, ListArgs, ShowArgs, StatsArgs};
use self::change::Change;
use self::connect::{connect, database_error};
use crate::output;

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
    let (state, namespace) = (InboxState::from(args.state), args.namespace.namespace.as_str());
    // One more than the limit shows whether there are more.
    let mut entries = inbox.list_namespace(namespace, state, args.limit + 1).await.map_err(database_error)?;
    let has_more = entries.len() > args.limit as usize;
    entries.truncate(args.limit as usize);
    if args.json {
        output::print(entries.iter().map(format::format_json).collect::<Result<String>>()?.as_bytes())?;
    } else if entries.is_empty() {
        let what = match state {
            InboxState::Dead => "dead letters".to_owned(),
            state => format!("events in the state {}", format::state_name(state)),
        };
        output::print_line(&format!("no {what} (namespace {namespace:?})"))?;
    } else {
        output::print(format::format_list(state, &entries).as_bytes())?;
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

async fn stats(args: &StatsArgs) -> Result<()> {
    let stats = connect(&args.database).await?.stats().await.map_err(database_error)?;
    let (waiting, running, dead) = (stats.waiting, stats.running, stats.dead);
    let oldest = stats.oldest.as_secs_f64();
    if args.json {
        let object =
            json!({ "waiting": waiting, "running": running, "dead": dead, "oldest_seconds": oldest });
        return output::print_line(&object.to_string());
    }
    output::print_line(&format!(
        "waiting       {waiting:>10}\nrunning       {running:>10}\ndead letters  {dead:>10}\n\
         oldest        {oldest:>10.1} s"
    ))
}
