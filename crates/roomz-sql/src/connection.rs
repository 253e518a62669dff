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
pub trait SqlConnection: sealed::Connection {}

impl<C: sealed::Connection> SqlConnection for C {}

pub(crate) mod sealed {
    use roomz_webhook::store::Settled;
    use sqlx::Error;

    use crate::operation::Settlement;
    use crate::presence_statements::{PresenceRow, PresenceStatements};
    use crate::single::Value;

    /// What this crate executes on a connection of the application.
    #[allow(private_interfaces, reason = "only this crate implements and calls it")]
    pub trait Connection: Send {
        /// Whether sqlx began a transaction.
        fn is_in_transaction(&self) -> bool;

        fn presence_statements(&self) -> &'static PresenceStatements;

        fn fetch_presence(
            &mut self,
            sql: &'static str,
            values: Vec<Value<'_>>,
        ) -> impl Future<Output = Result<Vec<PresenceRow>, Error>> + Send;

        fn settle(&mut self, settlement: &Settlement) -> impl Future<Output = Result<Settled, Error>> + Send;
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use roomz_webhook::store::Settled;
    use sqlx::{Error, FromRow as _, PgConnection};

    use super::sealed::Connection;
    use crate::operation::Settlement;
    use crate::postgres::{self, PgSession, Protocol};
    use crate::presence_statements::{POSTGRES, PresenceRow, PresenceStatements};
    use crate::single::{self, Value};

    /// As text: the connection may lead to a pooler, where a named statement can be in another session of the server.
    const AS_TEXT: Protocol = Protocol::Simple { settings: String::new() };

    #[allow(private_interfaces, reason = "only this crate calls it")]
    impl Connection for PgConnection {
        fn is_in_transaction(&self) -> bool {
            sqlx::Connection::is_in_transaction(self)
        }

        fn presence_statements(&self) -> &'static PresenceStatements {
            &POSTGRES
        }

        async fn fetch_presence(
            &mut self,
            sql: &'static str,
            values: Vec<Value<'_>>,
        ) -> Result<Vec<PresenceRow>, Error> {
            let values = values.into_iter().map(Into::into).collect();
            let rows = postgres::fetch(self, &AS_TEXT, sql, values).await?;
            rows.iter().map(PresenceRow::from_row).collect()
        }

        async fn settle(&mut self, settlement: &Settlement) -> Result<Settled, Error> {
            let mut session = PgSession { connection: self, protocol: &AS_TEXT };
            single::settle(&mut session, settlement).await
        }
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use roomz_webhook::store::Settled;
    use sqlx::{Error, SqliteConnection};

    use super::sealed::Connection;
    use crate::operation::Settlement;
    use crate::presence_statements::{PresenceRow, PresenceStatements, SQLITE};
    use crate::single::{self, Value};
    use crate::sqlite::{self, SqliteSession};

    #[allow(private_interfaces, reason = "only this crate calls it")]
    impl Connection for SqliteConnection {
        fn is_in_transaction(&self) -> bool {
            sqlx::Connection::is_in_transaction(self)
        }

        fn presence_statements(&self) -> &'static PresenceStatements {
            &SQLITE
        }

        async fn fetch_presence(
            &mut self,
            sql: &'static str,
            values: Vec<Value<'_>>,
        ) -> Result<Vec<PresenceRow>, Error> {
            sqlite::query(sql, values).fetch_all(self).await
        }

        async fn settle(&mut self, settlement: &Settlement) -> Result<Settled, Error> {
            single::settle(&mut SqliteSession(self), settlement).await
        }
    }
}
