use std::collections::HashSet;

use roomz_inbox::{EventId, Inbox, InboxError, InboxState};
use roomz_webhook::store::ClaimKey;
use serde_json::{Value, json};

use super::args::ChangeArgs;
use super::connect::{connect, operation_error};
use super::format::state_name;
use crate::error::CliError;
use crate::escape::escape_json;
use crate::output;

/// How many dead letters are read at once.
const PAGE: u32 = 100;
/// How many events an error message names.
const MAX_NAMED: usize = 5;

/// What happens to a dead letter.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Retry,
    Discard,
}

impl Change {
    const fn verb(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Discard => "discard",
        }
    }

    const fn participle(self) -> &'static str {
        match self {
            Self::Retry => "retried",
            Self::Discard => "discarded",
        }
    }

    async fn apply(self, inbox: &Inbox, key: &ClaimKey) -> Result<bool, InboxError> {
        match self {
            Self::Retry => inbox.retry(key).await,
            Self::Discard => inbox.discard(key).await,
        }
    }
}

/// What was done before the end, or before an error of the database.
#[derive(Default)]
struct Changes {
    done: Vec<EventId>,
    /// Events that are no dead letters, with the reason.
    failed: Vec<(EventId, String)>,
}

pub(super) async fn run(change: Change, args: &ChangeArgs) -> Result<(), CliError> {
    let inbox = connect(&args.database).await?;
    let mut changes = Changes::default();
    let result = if args.all {
        change_all(change, &inbox, args, &mut changes).await
    } else {
        change_each(change, &inbox, args, &mut changes).await
    };
    print(change, args, &changes)?;
    result.map_err(|error| operation_error(&error))?;
    if changes.failed.is_empty() { Ok(()) } else { Err(failed_error(change, args, &changes)) }
}

async fn change_each(
    change: Change,
    inbox: &Inbox,
    args: &ChangeArgs,
    changes: &mut Changes,
) -> Result<(), InboxError> {
    let namespace = args.namespace.namespace.as_str();
    for id in &args.ids {
        let key = ClaimKey::new(namespace.into(), *id);
        if change.apply(inbox, &key).await? {
            changes.done.push(*id);
        } else {
            let reason = match inbox.get(&key).await? {
                None => format!("is not in the inbox (namespace {namespace:?})"),
                Some(entry) => format!("is {}, not a dead letter", state_name(entry.state)),
            };
            changes.failed.push((*id, reason));
        }
    }
    Ok(())
}

async fn change_all(
    change: Change,
    inbox: &Inbox,
    args: &ChangeArgs,
    changes: &mut Changes,
) -> Result<(), InboxError> {
    // A retried event can become a dead letter again meanwhile. It must not be retried forever.
    let mut seen = HashSet::new();
    loop {
        let page = inbox.list_namespace(&args.namespace.namespace, InboxState::Dead, PAGE).await?;
        let new: Vec<_> = page.iter().filter(|entry| seen.insert(entry.key.id())).collect();
        if new.is_empty() {
            return Ok(());
        }
        for entry in new {
            // Another process may have retried or discarded it.
            if change.apply(inbox, &entry.key).await? {
                changes.done.push(entry.key.id());
            }
        }
    }
}

fn print(change: Change, args: &ChangeArgs, changes: &Changes) -> Result<(), CliError> {
    if args.database.json {
        let done: Vec<_> = changes.done.iter().map(ToString::to_string).collect();
        let failed: Vec<Value> = changes
            .failed
            .iter()
            .map(|(id, reason)| json!({ "id": id.to_string(), "reason": reason }))
            .collect();
        let object = json!({ change.participle(): done, "failed": failed });
        return output::print_line(&escape_json(&object.to_string()));
    }
    if args.all {
        let plural = if changes.done.len() == 1 { "dead letter" } else { "dead letters" };
        return output::print_line(&format!("{} {plural} {}", changes.done.len(), change.participle()));
    }
    let lines: String = changes.done.iter().map(|id| format!("{} {id}\n", change.participle())).collect();
    output::print(lines.as_bytes())
}

fn failed_error(change: Change, args: &ChangeArgs, changes: &Changes) -> CliError {
    let failed = changes.failed.len();
    let named = changes.failed.iter().take(MAX_NAMED);
    let mut reasons: Vec<_> = named.map(|(id, reason)| format!("{id} {reason}")).collect();
    if failed > MAX_NAMED {
        reasons.push(format!("and {} more", failed - MAX_NAMED));
    }
    CliError::failed(format!(
        "cannot {} {failed} of {} events: {}; `roomz inbox list` shows the dead letters",
        change.verb(),
        args.ids.len(),
        reasons.join(", ")
    ))
}
