use sqlx::{Connection, Error};

use crate::db::driver::{Driver, Protocol};
use crate::db::statement::Statement;
use crate::db::value::{Row, Value};

/// A connection to the database: `sqlx::PgConnection` or `sqlx::SqliteConnection`.
///
/// A transaction dereferences to its connection: pass `&mut *transaction`. So does a connection of a pool.
///
/// Only this crate implements it. Use it as a bound, for code that runs on both databases:
///
/// ```
/// use roomz_sql::{PresenceTable, SqlConnection};
///
/// async fn print<C: SqlConnection>(connection: &mut C) -> Result<(), sqlx::Error> {
///     for workspace in PresenceTable::default().all(connection).await? {
///         println!("{} {}", workspace.workspace_id, workspace.status);
///     }
///     Ok(())
/// }
/// ```
#[allow(private_bounds, reason = "no other crate can implement it")]
pub trait SqlConnection: Connection<Database: Driver> + Send {}

impl<C: Connection<Database: Driver> + Send> SqlConnection for C {}

/// Executes a statement with one row of parameters. As text: the connection may lead to a pooler, where a
/// named statement can be in another session of the server.
pub(crate) async fn fetch<C: SqlConnection>(
    connection: &mut C,
    statement: &'static Statement,
    values: &[Value],
) -> Result<Vec<Row>, Error> {
    C::Database::fetch(connection, &Protocol::InTransaction(""), statement, &[values]).await
}
