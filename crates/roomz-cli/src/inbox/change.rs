use std::collections::HashSet;

use anyhow::{Result, ensure};
use roomz_inbox::{EventId, Inbox, InboxError, InboxState};
use roomz_webhook::store::ClaimKey;

use super::args::ChangeArgs;
use super::connect::{connect, database_error};
use super::format::state_name;
use crate::output;

/// How many dead letters are read at once.
const PAGE: u32 = 100;

/// What happens to a dead letter.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Retry,
    Discard,
}

impl Change {
    /// For messages: the verb and its participle.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Retry => ("retry", "retried"),
            Self::Discard => ("discard", "discarded"),
        }
    }

    async fn apply(self, inbox: &Inbox, key: &ClaimKey) -> Result<bool, InboxError> {
        match self {
            Self::Retry => inbox.retry(key).await,
            Self::Discard => inbox.discard(key).await,
        }
    }
}

pub(super) async fn run(change: Change, args: &ChangeArgs) -> Result<()> {
    let inbox = connect(&args.database).await?;
    if !args.all {
        return change_each(change, &inbox, args).await;
    }
    let mut changed = 0;
    let result = change_all(change, &inbox, &args.namespace.namespace, &mut changed).await;
    let (_, participle) = change.words();
    let noun = if changed == 1 { "dead letter" } else { "dead letters" };
    output::print_line(&format!("{changed} {noun} {participle}"))?;
    result.map_err(database_error)
}

async fn change_each(change: Change, inbox: &Inbox, args: &ChangeArgs) -> Result<()> {
    let namespace = args.namespace.namespace.as_str();
    let (verb, participle) = change.words();
    let mut failed = Vec::new();
    for id in &args.ids {
        let key = ClaimKey::new(namespace.into(), *id);
        if change.apply(inbox, &key).await.map_err(database_error)? {
            output::print_line(&format!("{participle} {id}"))?;
            continue;
        }
        failed.push(match inbox.get(&key).await.map_err(database_error)? {
            None => format!("{id} is not in the inbox (namespace {namespace:?})"),
            Some(entry) => format!("{id} is {}, not a dead letter", state_name(entry.state)),
        });
    }
    ensure!(
        failed.is_empty(),
        "cannot {verb} {} of {} events: {}; `roomz inbox list` shows the dead letters",
        failed.len(),
        args.ids.len(),
        failed.join(", ")
    );
    Ok(())
}

/// Adds to `changed` what was done before the end, or before an error of the database.
async fn change_all(
    change: Change,
    inbox: &Inbox,
    namespace: &str,
    changed: &mut u64,
) -> Result<(), InboxError> {
    // A retried event can become a dead letter again meanwhile. It must not be retried forever.
    let mut seen = HashSet::<EventId>::new();
    loop {
        let mut page = inbox.list_namespace(namespace, InboxState::Dead, PAGE).await?;
        page.retain(|entry| seen.insert(entry.key.id()));
        if page.is_empty() {
            return Ok(());
        }
        for entry in page {
            // Another process may have retried or discarded it.
            *changed += u64::from(change.apply(inbox, &entry.key).await?);
        }
    }
}
