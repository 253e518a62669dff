use roomz_sql::internal;
use roomz_webhook::store::{ConnectError, ConnectErrorKind};

/// The connections of the inbox.
///
/// It is the type of roomz-sql with the databases of this crate's features: those of roomz-sql can be more, because another crate
/// enables them.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    #[cfg(feature = "postgres")]
    Postgres {
        pool: sqlx::PgPool,
        /// Whether a prepared statement can be used again. Through a pooler, another client can use its name.
        keeps_statements: bool,
    },
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
}

impl TryFrom<internal::Pool> for Pool {
    type Error = ConnectError;

    fn try_from(pool: internal::Pool) -> Result<Self, ConnectError> {
        match pool {
            #[cfg(feature = "postgres")]
            internal::Pool::Postgres { pool, keeps_statements } => {
                Ok(Self::Postgres { pool, keeps_statements })
            }
            #[cfg(feature = "sqlite")]
            internal::Pool::Sqlite(pool) => Ok(Self::Sqlite(pool)),
            #[allow(
                unreachable_patterns,
                reason = "roomz-sql has the same features, unless another crate enables more"
            )]
            _ => {
                let message =
                    "this database needs the feature `postgres` or `sqlite` of roomz-inbox; enable it";
                Err(ConnectError::new(ConnectErrorKind::Unsupported, message))
            }
        }
    }
}
