use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};

use crate::pool::Connections;
use crate::prepare;
use crate::settings::Settings;
use crate::sqlx_error::{UNREACHABLE, connect_error};
use crate::statements::POSTGRES;
use roomz_webhook::store::{ConnectError, ConnectErrorKind};

/// Without a lock, two instances that create a table at once fail even with IF NOT EXISTS. The number is random.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7236718392205847142)";

/// The URL parameters that sqlx knows. It logs the value of any other parameter, which may be a password.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Parameters of providers and other drivers that change nothing for the store. They are ignored with a log line.
const IGNORED_PARAMETERS: &[&str] = &[
    "channel_binding",
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "pgbouncer",
    "tcp_user_timeout",
];

/// Parameters of providers and other drivers that the store cannot honour, and what to use instead. They are named in the
/// error. Any other parameter is not named, because it could be a part of a password that contains a question mark.
const REJECTED_PARAMETERS: &[(&str, &str)] = &[
    ("client_encoding", "remove it"),
    ("connection_limit", "use `with_max_connections`"),
    ("gssencmode", "remove it"),
    ("load_balance_hosts", "use one host"),
    ("passfile", "put the password into the URL"),
    ("pool_timeout", "use `with_response_timeout`"),
    ("requiressl", "use sslmode=require"),
    ("schema", "use options=-c%20search_path%3DSCHEMA"),
    ("service", "put host, port, user and database into the URL"),
    ("socket_timeout", "use `with_response_timeout`"),
    ("sslcrl", "remove it"),
    ("ssl_min_protocol_version", "remove it"),
    ("target_session_attrs", "use the address of the primary server"),
];

/// Connects to the server of this URL.
pub(crate) async fn connect(url: &str, settings: &Settings) -> Result<Connections, ConnectError> {
    let url = &check_parameters(url)?;
    let options = PgConnectOptions::from_str(url).map_err(connect_error)?;
    // A single connection instead of the pool: its statements have no timeout, because another instance may be
    // migrating, and its errors are more specific.
    let mut connection = tokio::time::timeout(settings.connect_timeout, PgConnection::connect_with(&options))
        .await
        .map_err(|_| unreachable_error())?
        .map_err(connect_error)?;
    check_and_migrate(&mut connection, settings).await?;
    let _ = connection.close().await;

    let statement_timeout = format!("{}ms", settings.response_timeout.as_millis());
    let has_name = options.get_application_name().is_some();
    let options = if has_name { options } else { options.application_name("roomz") };
    let options = options.options([
        ("statement_timeout", statement_timeout.as_str()),
        ("default_transaction_isolation", "read committed"),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.response_timeout)
        // The operation itself finds and replaces a broken connection. A test would double the round trips.
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(connect_error)?;
    Ok(Connections::Postgres(pool))
}

/// Uses a pool of the application.
pub(crate) async fn use_pool(pool: PgPool, settings: &Settings) -> Result<Connections, ConnectError> {
    let mut connection = pool.acquire().await.map_err(connect_error)?;
    let isolation: String = sqlx::query_scalar("SHOW default_transaction_isolation")
        .fetch_one(&mut *connection)
        .await
        .map_err(connect_error)?;
    if isolation != "read committed" {
        let message = format!(
            "the pool's `default_transaction_isolation` {isolation:?} is not supported; set it to `read committed`, or \
             connect with a URL"
        );
        return Err(ConnectError::new(ConnectErrorKind::Unsupported, message));
    }
    check_and_migrate(&mut connection, settings).await?;
    drop(connection);
    Ok(Connections::Postgres(pool))
}

async fn check_and_migrate(connection: &mut PgConnection, settings: &Settings) -> Result<(), ConnectError> {
    let version: String =
        sqlx::query_scalar("SHOW server_version").fetch_one(&mut *connection).await.map_err(connect_error)?;
    prepare::require_version("PostgreSQL", &version, (13, 0))?;
    match self_test(connection, settings).await {
        Err(error) if settings.migrations && error.kind() == ConnectErrorKind::InvalidSchema => {
            prepare::migrate!(connection, "BEGIN ISOLATION LEVEL READ COMMITTED", [LOCK])?;
            self_test(connection, settings).await
        }
        result => result,
    }
}

/// Has a timeout, because another session may hold a lock on the table.
async fn self_test(connection: &mut PgConnection, settings: &Settings) -> Result<(), ConnectError> {
    tokio::time::timeout(settings.connect_timeout, async {
        prepare::self_test!(connection, "BEGIN ISOLATION LEVEL READ COMMITTED", POSTGRES)
    })
    .await
    .unwrap_or_else(|_| Err(unreachable_error()))
}

fn unreachable_error() -> ConnectError {
    ConnectError::new(ConnectErrorKind::Unreachable, UNREACHABLE)
}

/// Returns the names and values of a URL's parameters.
fn parameters(url: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Returns the URL without the parameters that are ignored.
fn check_parameters(url: &str) -> Result<String, ConnectError> {
    let invalid = |message: String| ConnectError::new(ConnectErrorKind::InvalidUrl, message);
    let mut url = url.to_owned();
    for (name, value) in parameters(&url.clone()) {
        // `connect` checks that the server accepts writes, so these values change nothing.
        let is_writable = name == "target_session_attrs" && ["any", "read-write"].contains(&value);
        if IGNORED_PARAMETERS.contains(&name) || is_writable {
            tracing::warn!(parameter = name, "parameter of the PostgreSQL URL ignored");
            remove_parameter(&mut url, name);
        } else if let Some((name, advice)) =
            REJECTED_PARAMETERS.iter().find(|(rejected, _)| *rejected == name)
        {
            return Err(invalid(format!("invalid PostgreSQL URL: unsupported parameter `{name}`; {advice}")));
        } else if !PARAMETERS.contains(&name) && !name.starts_with("options[") {
            let message = "invalid PostgreSQL URL: unsupported parameter; use sslmode, sslrootcert, sslcert, sslkey, \
                           statement-cache-capacity, host, hostaddr, port, dbname, user, password, application_name or \
                           options, and write `?` in a password as %3F";
            return Err(invalid(message.to_owned()));
        }
    }
    Ok(url)
}

fn remove_parameter(url: &mut String, name: &str) {
    let Some((start, query)) = url.split_once('?') else { return };
    let (query, fragment) = query.split_once('#').map_or((query, None), |(query, rest)| (query, Some(rest)));
    let kept: Vec<_> = query.split('&').filter(|pair| pair.split('=').next() != Some(name)).collect();
    let fragment = fragment.map(|rest| format!("#{rest}")).unwrap_or_default();
    *url = format!("{start}?{}{fragment}", kept.join("&"));
}
