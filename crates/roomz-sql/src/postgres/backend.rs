use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use roomz_webhook::store::{Claim, Settled};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Error, FromRow as _, PgConnection, PgPool};

use crate::backend::{Backend, Execute, Failure};
use crate::operation::{ClaimOperation, Operation, Purge, Purged, Settlement};
use crate::pooled::Pooled;
use crate::postgres::batch;
use crate::postgres::query::{Parameter, Protocol, fetch};
use crate::single::{self, Row, Session, Value};
use crate::statements::{POSTGRES, Statements};

/// A PostgreSQL database.
pub(crate) struct Postgres {
    pub(crate) source: Source,
    pub(crate) protocol: Protocol,
    pub(crate) max_connections: usize,
    pub(crate) return_timeout: Duration,
    /// The backends of connections that were given up. The server may still execute their statements.
    pub(crate) abandoned: Mutex<Vec<BackendId>>,
}

/// A process of the server: its number, and its start in microseconds since 1970, because numbers are used again.
pub(crate) type BackendId = (i64, i64);

/// Where connections come from.
pub(crate) enum Source {
    Url(Box<PgConnectOptions>),
    /// A pool of the application. Each batch borrows a connection.
    Pool(PgPool),
}

/// What a worker holds.
pub(crate) enum Held {
    Own { connection: Box<PgConnection>, backend: BackendId },
    Pool(PgPool),
}

/// A connection, and how statements are sent over it.
pub(crate) struct PgSession<'a> {
    pub(crate) connection: &'a mut PgConnection,
    pub(crate) protocol: &'a Protocol,
}

impl Session for PgSession<'_> {
    fn statements(&self) -> &'static Statements {
        &POSTGRES
    }

    async fn fetch(&mut self, sql: &'static str, values: Vec<Value<'_>>) -> Result<Vec<Row>, Error> {
        let parameters = values.into_iter().map(Parameter::from).collect();
        let rows = fetch(self.connection, self.protocol, sql, parameters).await?;
        rows.iter().map(Row::from_row).collect()
    }
}

impl Backend for Postgres {
    type Connection = Held;

    async fn connect(&self, open: usize) -> Result<Held, Error> {
        match &self.source {
            Source::Url(options) => {
                let mut connection = options.connect().await?;
                let backend = check_writable(&mut connection, &self.protocol).await?;
                self.check_abandoned(&mut connection, open).await?;
                Ok(Held::Own { connection: Box::new(connection), backend })
            }
            Source::Pool(pool) => {
                let mut pooled = Pooled::acquire(pool).await?;
                check_writable(pooled.connection()?, &self.protocol).await?;
                pooled.release(self.return_timeout);
                Ok(Held::Pool(pool.clone()))
            }
        }
    }

    async fn ping(&self, held: &mut Held) -> Result<(), Error> {
        match held {
            Held::Own { connection, .. } => connection.ping().await,
            Held::Pool(_) => Ok(()),
        }
    }

    fn abandon(&self, held: Held) {
        // A pooler has its own backends: those of another client could be counted.
        if let (Held::Own { backend, .. }, Protocol::Prepared) = (held, &self.protocol) {
            self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).push(backend);
        }
    }

    async fn close(&self, held: Held) {
        if let Held::Own { connection, .. } = held {
            let _ = connection.close().await;
        }
    }

    fn classify(&self, error: &Error) -> Failure {
        match error {
            Error::Database(error) => match error.code().as_deref() {
                // Lock not available, deadlock.
                Some("55P03" | "40P01") => Failure::Locked,
                // Serialization failure.
                Some("40001") => Failure::Busy,
                // A prepared statement is unknown, or does not fit the table any more.
                Some("0A000" | "26000") => Failure::Broken,
                // The server is read-only now. After a failover, a new connection leads to the primary server.
                Some("25006") => Failure::Broken,
                Some(code) if code.len() == 5 && (code.starts_with("57P") || code.starts_with("08")) => {
                    Failure::Broken
                }
                _ => Failure::Rejected,
            },
            // The same row from another connection cannot be decoded either.
            Error::ColumnDecode { .. } | Error::Decode(_) | Error::Encode(_) => Failure::Rejected,
            _ => Failure::Broken,
        }
    }
}

impl Postgres {
    /// Fails if the server still executes so many statements of closed connections that this connection would exceed the
    /// maximum. This happens when commits hang because a synchronous standby is missing.
    async fn check_abandoned(&self, connection: &mut PgConnection, open: usize) -> Result<(), Error> {
        let abandoned = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if abandoned.is_empty() {
            return Ok(());
        }
        let (processes, starts) = abandoned.iter().copied().unzip();
        let parameters = vec![Parameter::Numbers(processes), Parameter::Numbers(starts)];
        let rows = fetch(connection, &self.protocol, ACTIVE_BACKENDS, parameters).await?;
        let active: Vec<_> = rows.iter().map(BackendId::from_row).collect::<Result<_, _>>()?;
        let mut all = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|backend| active.contains(backend) || !abandoned.contains(backend));
        // Connections that were given up meanwhile are still in `open`.
        if active.len() + open >= self.max_connections {
            return Err(Error::Protocol(format!(
                "the server still executes {} statements of this store; check its locks and its synchronous standby",
                active.len()
            )));
        }
        Ok(())
    }

    /// Whether another connection of the pool can help. After a restart of the server, every connection in a pool is
    /// closed, and only its use shows it.
    fn may_retry<T>(&self, result: &Result<T, Error>) -> bool {
        let is_read_only = |error: &Error| matches!(error, Error::Database(error) if error.code().as_deref() == Some("25006"));
        result.as_ref().is_err_and(|error| self.classify(error) == Failure::Broken && !is_read_only(error))
    }
}

const OWN_BACKEND: &str = "SELECT CAST(pid AS BIGINT), CAST(extract(epoch FROM backend_start) * 1000000 AS BIGINT), \
                           CAST(current_setting('transaction_read_only') AS BOOLEAN) \
                           FROM pg_stat_activity WHERE pid = pg_backend_pid()";
const ACTIVE_BACKENDS: &str = "SELECT k.pid, k.started FROM unnest($1, $2) AS k (pid, started) \
                               JOIN pg_stat_activity a ON a.pid = k.pid \
                               AND CAST(extract(epoch FROM a.backend_start) * 1000000 AS BIGINT) = k.started \
                               WHERE a.state <> 'idle'";

/// Returns the server's process of this connection.
async fn check_writable(connection: &mut PgConnection, protocol: &Protocol) -> Result<BackendId, Error> {
    let rows = fetch(connection, protocol, OWN_BACKEND, Vec::new()).await?;
    let row = rows.first().ok_or(Error::RowNotFound)?;
    let (process, started, is_read_only) = <(i64, i64, bool)>::from_row(row)?;
    if is_read_only {
        let message = "the database accepts no writes; use the address of the primary server";
        return Err(Error::Protocol(message.into()));
    }
    Ok((process, started))
}

/// Executes operations on a connection.
macro_rules! with_connection {
    ($self:ident, $held:ident, $operations:ident, $connection:ident => $run:expr) => {
        match $held {
            Held::Own { connection, .. } => {
                let $connection = &mut **connection;
                $run.await
            }
            Held::Pool(pool) => {
                let is_retry_safe = $operations.iter().all(|operation| operation.is_retry_safe());
                let mut retries_left = if is_retry_safe { pool.options().get_max_connections() } else { 0 };
                loop {
                    let mut pooled = Pooled::acquire(pool).await?;
                    let $connection = pooled.connection()?;
                    let result = $run.await;
                    if retries_left > 0 && $self.may_retry(&result) {
                        retries_left -= 1;
                        continue;
                    }
                    if result.as_ref().err().is_none_or(|error| $self.classify(error) != Failure::Broken) {
                        pooled.release($self.return_timeout);
                    }
                    break result;
                }
            }
        }
    };
}

impl Execute<ClaimOperation> for Postgres {
    async fn execute(&self, held: &mut Held, claims: &[&ClaimOperation]) -> Result<Vec<Claim>, Error> {
        with_connection!(self, held, claims, connection => claim(connection, &self.protocol, claims))
    }
}

impl Execute<Settlement> for Postgres {
    async fn execute(&self, held: &mut Held, settlements: &[&Settlement]) -> Result<Vec<Settled>, Error> {
        with_connection!(self, held, settlements, connection => settle(connection, &self.protocol, settlements))
    }
}

impl Execute<Purge> for Postgres {
    async fn execute(&self, held: &mut Held, purges: &[&Purge]) -> Result<Vec<Purged>, Error> {
        with_connection!(self, held, purges, connection => purge(connection, &self.protocol))
    }
}

/// A single operation has its own statement: the batch statement takes twice as long for it.
async fn claim(
    connection: &mut PgConnection,
    protocol: &Protocol,
    claims: &[&ClaimOperation],
) -> Result<Vec<Claim>, Error> {
    match claims {
        [claim] => Ok(vec![single::claim(&mut PgSession { connection, protocol }, claim).await?]),
        _ => batch::claim(connection, protocol, claims).await,
    }
}

async fn settle(
    connection: &mut PgConnection,
    protocol: &Protocol,
    settlements: &[&Settlement],
) -> Result<Vec<Settled>, Error> {
    match settlements {
        [one] => Ok(vec![single::settle(&mut PgSession { connection, protocol }, one).await?]),
        _ => batch::settle(connection, protocol, settlements).await,
    }
}

async fn purge(connection: &mut PgConnection, protocol: &Protocol) -> Result<Vec<Purged>, Error> {
    Ok(vec![single::purge(&mut PgSession { connection, protocol }).await?])
}
