use std::env;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use roomz_inbox::{ConnectErrorKind, Inbox};

use crate::error::usage;

/// The environment variable that holds the URL when no option does.
const DATABASE_VARIABLE: &str = "DATABASE_URL";

/// A count of many events takes longer than a delivery may wait.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Connects to the inbox of a receiver. Creates nothing.
pub(super) async fn connect(database: Option<String>) -> Result<Inbox> {
    let setting = if database.is_some() { "--database" } else { DATABASE_VARIABLE };
    let url = database.or_else(|| env::var(DATABASE_VARIABLE).ok());
    let url =
        url.context("the database is unknown: use --database URL, or the environment variable DATABASE_URL")?;
    let builder = Inbox::builder(without_creating(&url)).with_migrations(false).with_max_connections(2);
    builder.with_response_timeout(RESPONSE_TIMEOUT).connect().await.map_err(|error| {
        let kind = error.kind();
        let text = database_error(error);
        match kind {
            // The error's own message advises to create the tables, which only a receiver may do.
            ConnectErrorKind::InvalidSchema => anyhow!(
                "{setting}: the database has no inbox of this version ({text}); check the URL, and start the receiver, which \
                 creates the tables"
            ),
            ConnectErrorKind::InvalidUrl if setting != DATABASE_VARIABLE => usage(format!("{setting}: {text}")),
            _ => anyhow!("{setting}: {text}"),
        }
    })
}

/// Joins an error with its causes, without the words with which the database driver introduces each cause,
/// and without the names of cargo features.
pub(super) fn database_error(error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    let mut text = format!("{:#}", anyhow::Error::new(error));
    for noise in [
        "error communicating with database: ",
        "error returned from database: ",
        "error with configuration: ",
        " (feature `postgres`)",
        " (feature `sqlite`)",
    ] {
        text = text.replace(noise, "");
    }
    anyhow!(text)
}

/// Changes an SQLite URL so that a missing file is an error.
fn without_creating(url: &str) -> String {
    let url = url.replace("mode=rwc", "mode=rw");
    match url.split_once('?') {
        _ if !url.starts_with("sqlite:") => url,
        Some((_, query)) if query.contains("mode=") => url,
        Some(_) => url + "&mode=rw",
        None => url + "?mode=rw",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_url_never_creates_file() {
        for (url, changed) in [
            ("sqlite:a.db", "sqlite:a.db?mode=rw"),
            ("sqlite://a.db?mode=rwc", "sqlite://a.db?mode=rw"),
            ("sqlite://a.db?", "sqlite://a.db?&mode=rw"),
            ("sqlite://a.db?cache=shared&mode=rwc", "sqlite://a.db?cache=shared&mode=rw"),
            ("sqlite://a.db?mode=ro", "sqlite://a.db?mode=ro"),
            ("postgres://localhost/floors", "postgres://localhost/floors"),
        ] {
            assert_eq!(without_creating(url), changed);
        }
    }
}
