use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use roomz_webhook::store::ConnectError;
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, Database, Error, SqlSafeStr as _};
use sqlx_core::transaction::TransactionManager as _;

use crate::db::dialect::Dialect;
use crate::db::statement::Statement;
use crate::db::value::{Row, Value};

/// The longest time that a statement waits for a lock of another session. An operation tries again later, so
/// that it does not delay the operations behind it.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_millis(50);

/// What the server calls a connection: the number of its process, and when that started, because numbers are
/// used again. A file has no sessions.
pub(crate) type Session = (i64, i64);

/// A database of sqlx: how it sends statements and reads rows.
pub trait Driver: Database {
    const DIALECT: Dialect;
    /// The name of the product, the statement that returns its version, and the oldest version that works.
    const VERSION: (&'static str, &'static str, (u32, u32));
    const MIGRATIONS: &'static [&'static str];
    /// Begins a transaction that may write. Fails in a transaction that someone left open.
    const BEGIN: &'static str;

    /// Sent behind `BEGIN` for a handler. Fails in a read-only transaction, in which its own statement would.
    const BEGIN_HANDLER: &'static str;

    /// Sent before the last statement of a handler's transaction. Fails unless the transaction is the one
    /// that began with [`BEGIN_HANDLER`](Self::BEGIN_HANDLER).
    const END_HANDLER: &'static str;

    /// The codes of the errors with which a statement fails, before it has an effect, because someone left
    /// its connection inside a transaction or read-only.
    const LEFT: &'static [&'static str];

    /// Returns the [`Session`] of the connection, and 1 if the database accepts no writes.
    const SESSION: &'static str;

    /// Returns the sessions that execute a statement.
    const ACTIVE: &'static str;

    /// Locks the migrations. Returns 1, or 0 if another instance migrates.
    const LOCK_MIGRATIONS: &'static str;

    /// Executes a statement, and returns all rows: it is committed only after its last row. With several rows
    /// of parameters, executes the form for many rows.
    fn fetch(
        connection: &mut Self::Connection,
        protocol: &Protocol,
        statement: &'static Statement,
        rows: &[&[Value]],
    ) -> impl Future<Output = Result<Vec<Row>, Error>> + Send;

    /// Executes a text that can have several statements, and returns all rows.
    fn script(
        connection: &mut Self::Connection,
        text: &str,
    ) -> impl Future<Output = Result<Vec<Row>, Error>> + Send;

    /// Returns the text that gives a transaction, which has just begun, the settings that the session has
    /// now. Someone may change them for the session later.
    fn settings(_connection: &mut Self::Connection) -> impl Future<Output = Result<String, Error>> + Send {
        ready(Ok(String::new()))
    }

    /// Ends the transaction that is open, if any, so that the next one may write.
    fn roll_back(connection: &mut Self::Connection) -> impl Future<Output = Result<(), Error>> + Send;

    /// Returns what tells the connection whether it may commit: what a handler writes after a statement ended
    /// its transaction would be committed at once. PostgreSQL ends no transaction unless the client asks for
    /// it.
    fn commit_permission(
        _connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<Arc<AtomicBool>, Error>> + Send {
        ready(Ok(Arc::default()))
    }

    /// Fails if the layer cannot use the database for another reason than its version.
    fn check(connection: &mut Self::Connection) -> impl Future<Output = Result<(), ConnectError>> + Send;

    /// Returns a number that is another one when the file of the database was replaced. 0 for a server.
    fn file_identity(_connection: &mut Self::Connection) -> impl Future<Output = Result<i64, Error>> + Send {
        ready(Ok(0))
    }

    /// Returns whether the connection was left inside a transaction or read-only.
    fn is_left(error: &Error) -> bool {
        let code = error.as_database_error().and_then(|error| error.code());
        code.is_some_and(|code| Self::LEFT.contains(&&*code))
    }

    /// Begins a transaction that the transaction manager of sqlx ends. Rolls back one that someone left open,
    /// and returns whether there was one: in it, a commit of sqlx could return `Ok` and store nothing.
    fn begin(
        connection: &mut Self::Connection,
        begin: &str,
    ) -> impl Future<Output = Result<bool, Error>> + Send {
        async move {
            // Safe: it has hexadecimal digits for values.
            let begin = || Some(AssertSqlSafe(begin.to_owned()).into_sql_str());
            match Self::TransactionManager::begin(connection, begin()).await {
                Err(error) if Self::is_left(&error) => {
                    Self::roll_back(connection).await?;
                    Self::TransactionManager::begin(connection, begin()).await.map(|()| true)
                }
                begun => begun.map(|()| false),
            }
        }
    }

    /// Returns whether the database closes the connection after this error, whatever its code is.
    fn is_fatal(_error: &dyn DatabaseError) -> bool {
        false
    }

    /// Classifies an error by the code of the database.
    fn classify_code(code: &str) -> Failure;

    /// Classifies the error of a statement.
    fn classify(error: &Error) -> Failure {
        match error {
            Error::Database(error) if Self::is_fatal(&**error) => Failure::Broken,
            Error::Database(error) => Self::classify_code(error.code().as_deref().unwrap_or_default()),
            // The same row from another connection cannot be decoded either.
            Error::ColumnDecode { .. } | Error::Decode(_) | Error::Encode(_) => Failure::Rejected,
            _ => Failure::Broken,
        }
    }
}

/// Executes a text, and returns its first row.
pub(crate) async fn first_row<D: Driver>(connection: &mut D::Connection, text: &str) -> Result<Row, Error> {
    D::script(connection, text).await?.into_iter().next().ok_or(Error::RowNotFound)
}

/// How statements are sent.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// As prepared statements. The session has its timeouts from the startup parameter `options`.
    Prepared,
    /// In a transaction of its own, which begins with this text. This needs no session state, so it works
    /// with any pooler. An error leaves the transaction open.
    Transaction { begin: String },
    /// Behind this text, in a transaction that is open, on a connection that may lead to a pooler.
    InTransaction(&'static str),
}

impl Protocol {
    /// Statements in transactions of their own, each with its timeouts and with these
    /// [`settings`](Driver::settings).
    pub(crate) fn transaction<D: Driver>(statement_timeout: Duration, settings: &str) -> Self {
        let begin = match D::DIALECT {
            Dialect::Postgres => format!(
                "{}{settings}; SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}; ",
                D::BEGIN,
                LOCK_TIMEOUT.as_millis(),
                statement_timeout.as_millis()
            ),
            // The statement locks the file if it writes.
            Dialect::Sqlite => format!("{}; ", D::BEGIN.replace(" IMMEDIATE", "")),
        };
        Self::Transaction { begin }
    }

    /// What to send before and after a statement.
    pub(crate) const fn frame(&self) -> (&str, &'static str) {
        match self {
            Self::Transaction { begin } => (begin.as_str(), "; COMMIT"),
            Self::InTransaction(begin) => (begin, ""),
            Self::Prepared => ("", ""),
        }
    }
}

/// What a failed statement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection cannot be used any more, and a new connection can help.
    Broken,
    /// Another session holds a lock for longer than a statement waits, or the server resolved a deadlock.
    Locked,
    /// Another process writes to the SQLite file, or two transactions conflict. The same batch can succeed
    /// later.
    Busy,
    /// The database rejected the statement.
    Rejected,
}
