use std::str::FromStr as _;
use std::sync::Mutex;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Error, FromRow as _, PgConnection, PgPool, Row as _,
};
use tokio::time::timeout;

use crate::migrations::{self, POSTGRES_MIGRATIONS};
use crate::pooled::Pooled;
use crate::postgres::backend::{PgSession, Postgres, Source};
use crate::postgres::batch;
use crate::postgres::query::{LOCK_TIMEOUT, Protocol, fetch};
use crate::postgres::url::check_parameters;
use crate::presence_statements::{self, PresenceRow};
use crate::self_test::SelfTest;
use crate::settings::Settings;
use crate::single;
use crate::sqlx_error::{connect_error, unreachable_error};
use roomz_webhook::store::{ConnectError, ConnectErrorKind, Owner};

/// Without a lock, two instances that create a table at once fail even with IF NOT EXISTS. The number is random.
const TRY_LOCK: &str = "SELECT pg_try_advisory_xact_lock(7236718392205847142)";
/// The pause before the lock is tried again while another instance migrates.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// Connects to the server of this URL.
pub(crate) async fn connect(url: &str, settings: &Settings) -> Result<Postgres, ConnectError> {
    let (_, options, protocol) = connect_and_migrate(url, settings).await?;
    Ok(Postgres {
        source: Source::Url(Box::new(options)),
        protocol,
        max_connections: settings.max_connections as usize,
        return_timeout: settings.response_timeout,
        abandoned: Mutex::default(),
    })
}

/// Creates a pool for the transactions of handlers: without the settings of the connections for claims. The second value is
/// false behind a pooler: then prepared statements must have no name.
pub(crate) async fn open_pool(url: &str, settings: &Settings) -> Result<(PgPool, bool), ConnectError> {
    let (options, _, protocol) = connect_and_migrate(url, settings).await?;
    let keeps_statements = matches!(protocol, Protocol::Prepared);
    // A pooler can execute the statements of one session in several sessions of the server, where a prepared statement is missing.
    let options = if keeps_statements { options } else { options.statement_cache_capacity(0) };
    let pool = PgPoolOptions::new().max_connections(settings.max_connections);
    Ok((pool.acquire_timeout(settings.connect_timeout).connect_lazy_with(options), keeps_statements))
}

/// Returns the options of the URL, the options of connections for claims, and how these send statements.
async fn connect_and_migrate(
    url: &str,
    settings: &Settings,
) -> Result<(PgConnectOptions, PgConnectOptions, Protocol), ConnectError> {
    let url = &check_parameters(url)?;
    let options = PgConnectOptions::from_str(url).map_err(connect_error)?;
    let has_name = options.get_application_name().is_some();
    let options = if has_name { options } else { options.application_name("roomz") };
    // No column is a floating-point number, and PgBouncer rejects this parameter.
    let options = options.extra_float_digits(None).disable_statement_logging();
    let (mut connection, with_settings, protocol) =
        within(settings, log_in(options.clone(), settings.response_timeout)).await?;
    if let Protocol::Prepared = protocol {
        // The timeouts of the other connections are for claims. Another instance may be migrating.
        within(settings, set_timeouts(&mut connection, "SESSION", settings)).await?;
    }
    check_and_migrate(&mut connection, &protocol, settings).await?;
    let _ = timeout(settings.connect_timeout, connection.close()).await;
    Ok((options, with_settings, protocol))
}

/// Uses a pool of the application.
pub(crate) async fn use_pool(pool: PgPool, settings: &Settings) -> Result<Postgres, ConnectError> {
    check_pool(&pool, settings).await?;
    Ok(Postgres {
        source: Source::Pool(pool),
        protocol: Protocol::simple(settings.response_timeout),
        max_connections: settings.max_connections as usize,
        return_timeout: settings.response_timeout,
        abandoned: Mutex::default(),
    })
}

/// Creates the tables with a connection of this pool.
pub(crate) async fn check_pool(pool: &PgPool, settings: &Settings) -> Result<(), ConnectError> {
    let protocol = Protocol::simple(settings.response_timeout);
    let acquired = within(settings, async { Pooled::acquire(pool).await.map_err(connect_error) });
    let mut pooled = acquired.await?;
    check_and_migrate(pooled.connection().map_err(connect_error)?, &protocol, settings).await?;
    pooled.release(settings.response_timeout);
    Ok(())
}

/// Connects, and finds out whether the server keeps the settings of a session.
///
/// PostgreSQL sets them from the startup parameter `options`. A pooler, which may give each transaction another session,
/// rejects or ignores that parameter.
async fn log_in(
    options: PgConnectOptions,
    response_timeout: Duration,
) -> Result<(PgConnection, PgConnectOptions, Protocol), ConnectError> {
    let lock_timeout = format!("{}ms", LOCK_TIMEOUT.as_millis());
    let with_settings = options.clone().options([
        ("lock_timeout", lock_timeout.as_str()),
        ("statement_timeout", &format!("{}ms", response_timeout.as_millis())),
        ("default_transaction_isolation", "read committed"),
        // Every statement finds its rows by an index. A plan that was made while the table was small would read all rows
        // of the table until its next ANALYZE.
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
    ]);
    let ignoring = match with_settings.connect().await {
        Ok(mut connection) => {
            let found = read_settings(&mut connection).await.map_err(connect_error)?;
            if found == format!("{lock_timeout} force_generic_plan") {
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
    let connection = options.connect().await.map_err(connect_error)?;
    Ok((connection, options, Protocol::simple(response_timeout)))
}

async fn read_settings(connection: &mut PgConnection) -> Result<String, Error> {
    let settings = "SELECT concat(current_setting('lock_timeout'), ' ', current_setting('plan_cache_mode'))";
    sqlx::raw_sql(settings).fetch_one(connection).await?.try_get(0)
}

/// Compares the migrations, runs those that are missing, and tests the table.
async fn check_and_migrate(
    connection: &mut PgConnection,
    protocol: &Protocol,
    settings: &Settings,
) -> Result<(), ConnectError> {
    let version = within(settings, async {
        let row = sqlx::raw_sql("SHOW server_version").fetch_one(&mut *connection).await;
        row.and_then(|row| row.try_get::<String, _>(0)).map_err(connect_error)
    });
    migrations::require_version("PostgreSQL", &version.await?, (13, 0))?;
    let test = async |connection: &mut PgConnection| {
        let history = migrations::read_history!(connection)?;
        migrations::compare(&history, POSTGRES_MIGRATIONS)?;
        self_test(connection, protocol).await.map_err(connect_error)
    };
    match within(settings, test(connection)).await {
        Err(error) if settings.migrations && error.kind() == ConnectErrorKind::InvalidSchema => {
            migrate(connection, settings).await?;
            within(settings, test(connection)).await
        }
        result => result,
    }
}

/// Runs the scripts in one transaction. Only the wait for another instance that migrates has no timeout.
async fn migrate(connection: &mut PgConnection, settings: &Settings) -> Result<(), ConnectError> {
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
    let mut transaction =
        within(settings, async { connection.begin_with(begin).await.map_err(connect_error) }).await?;
    let mut is_locked = false;
    while !is_locked {
        is_locked = within(settings, async {
            let row = sqlx::raw_sql(TRY_LOCK).fetch_one(&mut *transaction).await;
            row.and_then(|row| row.try_get::<bool, _>(0)).map_err(connect_error)
        })
        .await?;
        if !is_locked {
            tokio::time::sleep(LOCK_INTERVAL).await;
        }
    }
    within(settings, async {
        set_timeouts(&mut transaction, "LOCAL", settings).await?;
        migrations::run!(&mut *transaction, POSTGRES_MIGRATIONS)?;
        transaction.commit().await.map_err(connect_error)
    })
    .await
}

/// Sets the server's timeouts to the timeout for connecting.
async fn set_timeouts(
    connection: &mut PgConnection,
    scope: &str,
    settings: &Settings,
) -> Result<(), ConnectError> {
    let timeout = settings.connect_timeout.as_millis();
    let set = format!("SET {scope} lock_timeout = {timeout}; SET {scope} statement_timeout = {timeout}");
    sqlx::raw_sql(AssertSqlSafe(set)).execute(connection).await.map(drop).map_err(connect_error)
}

/// Executes every statement in a transaction, and rolls it back.
async fn self_test(connection: &mut PgConnection, protocol: &Protocol) -> Result<(), Error> {
    let mut transaction = connection.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    let protocol = &protocol.inside_transaction();
    single::self_test(&mut PgSession { connection: &mut transaction, protocol }).await?;
    for (statement, values) in presence_statements::POSTGRES.self_test(Owner::random().to_bytes()) {
        let rows = fetch(&mut transaction, protocol, statement, values.into_iter().map(Into::into).collect());
        rows.await?.iter().try_for_each(|row| PresenceRow::from_row(row).map(drop))?;
    }
    let SelfTest { claims, duplicates, completions } = SelfTest::new();
    batch::claim(&mut transaction, protocol, &claims.each_ref()).await?;
    batch::claim(&mut transaction, protocol, &duplicates.each_ref()).await?;
    batch::settle(&mut transaction, protocol, &completions.each_ref()).await?;
    transaction.rollback().await
}

async fn within<T>(
    settings: &Settings,
    future: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    timeout(settings.connect_timeout, future).await.unwrap_or_else(|_| Err(unreachable_error()))
}
