use std::str::FromStr as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Error, PgConnection, Postgres};
use tokio::time::timeout;

use crate::db::connections::{Connections, Origin};
use crate::db::driver::{Driver as _, LOCK_TIMEOUT, Protocol, first_row};
use crate::db::error::connect_error;
use crate::db::pool::{Pool, pool_options};
use crate::db::postgres::url::check_parameters;
use crate::db::schema::check_and_migrate;
use crate::db::settings::Settings;
use crate::db::worker::Workers;
use roomz_webhook::store::{ConnectError, ConnectErrorKind};

const READ_SETTINGS: &str =
    "SELECT concat(current_setting('lock_timeout'), ' ', current_setting('plan_cache_mode'))";

/// Returns the options with which the store opens this `postgres://` URL, for a pool of your own.
///
/// They work through PgBouncer, and ignore the same parameters of the URL as the store:
///
/// ```no_run
/// use roomz_sql::postgres_options;
///
/// # fn open(url: &str) -> Result<sqlx::PgPool, roomz_sql::ConnectError> {
/// Ok(sqlx::PgPool::connect_lazy_with(postgres_options(url)?))
/// # }
/// ```
///
/// Behind a pooler in transaction mode, add `persistent(false)` to each of your queries, because a named
/// statement stays in one session of the server. The functions of this crate do that.
///
/// # Errors
///
/// [`ConnectErrorKind::InvalidUrl`].
pub fn postgres_options(url: &str) -> Result<PgConnectOptions, ConnectError> {
    let options = PgConnectOptions::from_str(&check_parameters(url)?).map_err(connect_error)?;
    // No column is a floating-point number, and PgBouncer rejects this parameter.
    Ok(options.extra_float_digits(None))
}

/// Connects to the server of this URL, and creates missing tables.
pub(crate) async fn connect(url: &str, settings: &Settings) -> Result<(Workers, Pool), ConnectError> {
    let options = postgres_options(url)?.disable_statement_logging();
    let has_name = options.get_application_name().is_some();
    let options = if has_name { options } else { options.application_name("roomz") };
    let (mut connection, with_settings, protocol) =
        settings.within(log_in(options.clone(), settings.response_timeout)).await?;
    let handler_settings = settings.execute(Postgres::settings(&mut connection)).await?;
    check_and_migrate::<Postgres>(&mut connection, settings).await?;
    let _ = timeout(settings.connect_timeout, connection.close()).await;

    // A pooler can execute the statements of one session in several sessions of the server, where a prepared
    // statement is missing.
    let keeps_statements = matches!(protocol, Protocol::Prepared);
    let options = if keeps_statements { options } else { options.statement_cache_capacity(0) };
    let suspects = Arc::default();
    let pool =
        pool_options::<Postgres>(settings.handler_connections.max(1), &suspects).connect_lazy_with(options);
    let begin = format!("{}{handler_settings}", Postgres::BEGIN);
    let pool = Pool::new(pool, &begin, Arc::clone(&suspects), None);
    let (origin, max) = (Origin::<Postgres>::Url(Box::new(with_settings)), settings.worker_connections);
    let connections =
        Connections { origin, protocol, max, suspects, abandoned: Mutex::default(), writer: None };
    Ok((Workers::spawn(connections, settings), pool))
}

/// Connects, and finds out whether the server keeps the settings of a session.
///
/// PostgreSQL sets them from the startup parameter `options`. A pooler, which may give each transaction
/// another session, rejects or ignores that parameter.
async fn log_in(
    options: PgConnectOptions,
    response_timeout: Duration,
) -> Result<(PgConnection, PgConnectOptions, Protocol), ConnectError> {
    let lock_timeout = format!("{}ms", LOCK_TIMEOUT.as_millis());
    let with_settings = options.clone().options([
        ("lock_timeout", lock_timeout.as_str()),
        ("statement_timeout", &format!("{}ms", response_timeout.as_millis())),
        ("default_transaction_isolation", "read committed"),
        // Every statement finds its rows by an index. A plan that was made while the table was small would
        // read all rows of the table until its next ANALYZE.
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
    ]);
    let ignoring = match with_settings.connect().await {
        Ok(mut connection) => {
            let row = first_row::<Postgres>(&mut connection, READ_SETTINGS).await.map_err(connect_error)?;
            if row.text(0).map_err(connect_error)? == format!("{lock_timeout} force_generic_plan") {
                return Ok((connection, with_settings, Protocol::Prepared));
            }
            Some(connection)
        }
        Err(Error::Database(error))
            if error.code().is_some_and(|code| code.starts_with("08") || code == "0A000") =>
        {
            None
        }
        Err(error) => return Err(connect_error(error)),
    };
    if let Some(connection) = ignoring {
        let _ = connection.close().await;
    }
    if options.get_options().is_some() {
        let message = "the pooler in front of PostgreSQL does not accept the URL parameter `options`; remove it, and set \
                       its values with ALTER ROLE … SET";
        return Err(ConnectError::new(ConnectErrorKind::Unsupported, message));
    }
    tracing::info!("PostgreSQL behind a pooler: statements are sent without session state");
    let mut connection = options.connect().await.map_err(connect_error)?;
    let found = Postgres::settings(&mut connection).await.map_err(connect_error)?;
    Ok((connection, options, Protocol::transaction::<Postgres>(response_timeout, &found)))
}
