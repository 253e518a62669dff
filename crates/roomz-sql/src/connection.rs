use sqlx::Connection;

use crate::db::driver::Driver;

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
