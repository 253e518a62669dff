use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow};
use roomz_inbox::{ConnectErrorKind, Inbox};

use crate::error::usage;

/// A count of many events takes longer than a delivery may wait.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Connects to the inbox of a receiver. Creates nothing.
pub(super) async fn connect(database: Option<String>) -> Result<Inbox> {
    let url = database.or_else(|| std::env::var("DATABASE_URL").ok());
    let url =
        url.context("the database is unknown: use --database URL, or the environment variable DATABASE_URL")?;
    let builder = Inbox::builder(without_creating(&url)).with_migrations(false).with_max_connections(2);
    builder.with_response_timeout(RESPONSE_TIMEOUT).connect().await.map_err(|error| {
        let kind = error.kind();
        // This program has both features.
        let text = format!("{:#}", Error::new(error)).replace(" (feature `postgres`)", "").replace(" (feature `sqlite`)", "");
        match kind {
            // The error's own message advises to create the tables, which only a receiver may do.
            ConnectErrorKind::InvalidSchema => anyhow!(
                "the database has no inbox of this version ({text}); check the URL in --database or DATABASE_URL, and start the \
                 receiver, which creates the tables"
            ),
            ConnectErrorKind::InvalidUrl => usage(format!("--database or DATABASE_URL: {text}")),
            _ => anyhow!("--database or DATABASE_URL: {text}"),
        }
    })
}

/// Changes an SQLite URL so that a missing file is an error.
fn without_creating(url: &str) -> String {
    if !url.starts_with("sqlite:") {
        return url.to_owned();
    }
    let (file, query) = url.split_once('?').unwrap_or((url, ""));
    let query = query.replace("mode=rwc", "mode=rw");
    let mode = if query.contains("mode=") { "" } else { "&mode=rw" };
    format!("{file}?{query}{mode}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_url_never_creates_file() {
        for (url, changed) in [
            ("sqlite:a.db", "sqlite:a.db?&mode=rw"),
            ("sqlite://a-mode=1.db", "sqlite://a-mode=1.db?&mode=rw"),
            ("sqlite://a-mode=rwc.db?cache=shared", "sqlite://a-mode=rwc.db?cache=shared&mode=rw"),
            ("sqlite://a.db?mode=rwc", "sqlite://a.db?mode=rw"),
            ("sqlite://a.db?", "sqlite://a.db?&mode=rw"),
            ("sqlite://a.db?cache=shared&mode=rwc", "sqlite://a.db?cache=shared&mode=rw"),
            ("sqlite://a.db?mode=ro", "sqlite://a.db?mode=ro"),
            ("postgres://floors:mode=rwc@localhost/floors", "postgres://floors:mode=rwc@localhost/floors"),
        ] {
            assert_eq!(without_creating(url), changed);
        }
    }
}
