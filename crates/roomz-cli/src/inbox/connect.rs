use std::env::{self, VarError};
use std::error::Error as _;

use roomz_inbox::{ConnectError, ConnectErrorKind, Inbox, InboxError};

use super::args::DatabaseArgs;
use crate::error::CliError;
use crate::output;

/// The environment variable that holds the URL when no option does.
const DATABASE_VARIABLE: &str = "DATABASE_URL";

/// Connects to the inbox of a receiver. Creates nothing.
pub(super) async fn connect(args: &DatabaseArgs) -> Result<Inbox, CliError> {
    let (setting, url) = match &args.database {
        Some(url) => ("--database", url.clone()),
        None => (DATABASE_VARIABLE, from_environment()?),
    };
    if args.database.is_some() && contains_password(&url) {
        output::print_notice(&format!(
            "the password in --database is visible in the process list: use {DATABASE_VARIABLE}"
        ));
    }
    check_scheme(setting, &url)?;
    let builder = Inbox::builder(without_creating(&url)).with_migrations(false).with_max_connections(2);
    builder.connect().await.map_err(|error| connect_error(setting, &error))
}

/// The error of an operation of the inbox.
pub(super) fn operation_error(error: &InboxError) -> CliError {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    CliError::failed(plain(&format!("{error}{source}")))
}

fn from_environment() -> Result<String, CliError> {
    env::var(DATABASE_VARIABLE).map_err(|error| {
        CliError::failed(match error {
            VarError::NotPresent => format!(
                "the database is unknown: use --database URL, or set the environment variable {DATABASE_VARIABLE}"
            ),
            VarError::NotUnicode(_) => {
                format!("the environment variable {DATABASE_VARIABLE} is not valid UTF-8; correct it")
            }
        })
    })
}

/// Rejects a URL that is of no supported database, without the names of cargo features that the library's error has.
fn check_scheme(setting: &str, url: &str) -> Result<(), CliError> {
    if ["postgres://", "postgresql://", "sqlite:"].iter().any(|scheme| url.starts_with(scheme)) {
        return Ok(());
    }
    // Without `://`, the text before a colon may be a user.
    let problem = match url.split_once("://") {
        Some((scheme, _)) => format!("unknown scheme {scheme:?}"),
        None => "the scheme is missing".to_owned(),
    };
    let message = format!(
        "{setting}: invalid database URL: {problem}; use postgres://USER@HOST/DATABASE or sqlite://FILE"
    );
    Err(if setting == DATABASE_VARIABLE { CliError::failed(message) } else { CliError::usage(message) })
}

/// Removes the words with which the database driver introduces each cause.
fn plain(message: &str) -> String {
    let introductions = [
        "error communicating with database: ",
        "error returned from database: ",
        "error with configuration: ",
    ];
    introductions.iter().fold(message.to_owned(), |text, introduction| text.replace(introduction, ""))
}

/// Changes an SQLite URL so that a missing file is an error.
fn without_creating(url: &str) -> String {
    if !url.starts_with("sqlite:") {
        return url.to_owned();
    }
    match url.split_once('?') {
        None => format!("{url}?mode=rw"),
        Some((file, query)) => {
            let kept = query.split('&').filter(|pair| !["", "mode=rwc"].contains(pair));
            let has_mode = query.split('&').any(|pair| pair.starts_with("mode=") && pair != "mode=rwc");
            let added = if has_mode { None } else { Some("mode=rw") };
            format!("{file}?{}", kept.chain(added).collect::<Vec<_>>().join("&"))
        }
    }
}

fn contains_password(url: &str) -> bool {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let has_user = address.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'));
    has_user.is_some_and(|(user, _)| user.contains(':'))
        || query.split('&').any(|pair| pair.starts_with("password="))
}

fn connect_error(setting: &str, error: &ConnectError) -> CliError {
    match error.kind() {
        // The error's own message advises to create the tables, which only a receiver may do.
        ConnectErrorKind::InvalidSchema => {
            let source = error.source().map(|source| format!(" ({source})")).unwrap_or_default();
            CliError::failed(format!(
                "{setting}: the database has no inbox of this version{source}; check the URL, and start the receiver, which \
                 creates the tables"
            ))
        }
        ConnectErrorKind::InvalidUrl if setting != DATABASE_VARIABLE => {
            CliError::usage(plain(&format!("{setting}: {error:?}")))
        }
        // `Debug` prints the message and its causes, without the URL.
        _ => CliError::failed(plain(&format!("{setting}: {error:?}"))),
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
            ("sqlite://a.db?", "sqlite://a.db?mode=rw"),
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
