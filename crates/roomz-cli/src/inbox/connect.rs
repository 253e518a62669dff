use std::env;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use roomz_inbox::{ConnectError, ConnectErrorKind, Inbox};

use super::args::DatabaseArgs;
use crate::error::usage;
use crate::output;

/// The environment variable that holds the URL when no option does.
const DATABASE_VARIABLE: &str = "DATABASE_URL";

/// A count of many events takes longer than a delivery may wait.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Connects to the inbox of a receiver. Creates nothing.
pub(super) async fn connect(args: &DatabaseArgs) -> Result<Inbox> {
    let url = match &args.database {
        Some(url) => url.clone(),
        None => env::var(DATABASE_VARIABLE).context(
            "the database is unknown: use --database URL, or the environment variable DATABASE_URL",
        )?,
    };
    if args.database.is_some() && contains_password(&url) {
        output::print_notice(&format!(
            "the password in --database is visible in the process list: use {DATABASE_VARIABLE}"
        ));
    }
    let builder = Inbox::builder(without_creating(&url)).with_migrations(false).with_max_connections(2);
    builder
        .with_response_timeout(RESPONSE_TIMEOUT)
        .connect()
        .await
        .map_err(|error| connect_error(args.database.is_some(), error))
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

fn contains_password(url: &str) -> bool {
    url::Url::parse(url)
        .is_ok_and(|url| url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password"))
}

fn connect_error(is_option: bool, error: ConnectError) -> anyhow::Error {
    let setting = if is_option { "--database" } else { DATABASE_VARIABLE };
    let kind = error.kind();
    let text = database_error(error);
    match kind {
        // The error's own message advises to create the tables, which only a receiver may do.
        ConnectErrorKind::InvalidSchema => anyhow!(
            "{setting}: the database has no inbox of this version ({}); check the URL, and start the receiver, which creates \
             the tables",
            text
        ),
        ConnectErrorKind::InvalidUrl if is_option => usage(format!("{setting}: {text}")),
        _ => anyhow!("{setting}: {text}"),
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

    #[test]
    fn detects_password_in_url() {
        for url in ["postgres://u:p@h/d", "postgres://u:p@q@h/d", "postgres://h/d?user=u&password=p"] {
            assert!(contains_password(url), "{url}");
        }
        for url in ["postgres://u@h:5432/d", "sqlite://a:b.db", "postgres://h/d?sslmode=require", "x"] {
            assert!(!contains_password(url), "{url}");
        }
    }
}
