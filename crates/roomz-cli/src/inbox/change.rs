use std::collections::HashSet;

use anyhow::{Result, bail, ensure};
use roomz_inbox::{Inbox, InboxError, InboxState};
use roomz_webhook::store::ClaimKey;

use super::args::ChangeArgs;
use super::connect::database_error;
use super::{entries, other_namespaces, state_name};
use crate::error::usage;
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

pub(super) async fn run(change: Change, inbox: &Inbox, args: &ChangeArgs) -> Result<()> {
    if !args.all {
        return change_each(change, inbox, args).await;
    }
    let mut changed = 0;
    let namespace = args.namespaces.namespace();
    let result = change_all(change, inbox, namespace, &mut changed).await;
    let (verb, participle) = change.words();
    let noun = if changed == 1 { "dead letter" } else { "dead letters" };
    output::print_line(&format!("{changed} {noun} {participle}"))?;
    result.map_err(database_error)?;
    // A script must notice that it looked in the wrong place.
    if let Some(name) = namespace.filter(|_| changed == 0)
        && let Some(others) = other_namespaces(inbox, name, InboxState::Dead).await?
    {
        bail!("nothing to {verb} in the namespace {name:?}; {others}");
    }
    Ok(())
}

async fn change_each(change: Change, inbox: &Inbox, args: &ChangeArgs) -> Result<()> {
    ensure!(
        !args.namespaces.all_namespaces,
        usage("--all-namespaces needs --all; use --namespace for an id")
    );
    let namespace = args.namespaces.one.namespace.as_str();
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
    namespace: Option<&str>,
    changed: &mut u64,
) -> Result<(), InboxError> {
    // A retried event can become a dead letter again meanwhile. It must not be retried forever.
    let mut seen = HashSet::<ClaimKey>::new();
    loop {
        let mut page = entries(inbox, namespace, InboxState::Dead, PAGE).await?;
        page.retain(|entry| seen.insert(entry.key.clone()));
        if page.is_empty() {
            return Ok(());
        }
        for entry in page {
            // Another process may have retried or discarded it.
            *changed += u64::from(change.apply(inbox, &entry.key).await?);
        }
    }
}
