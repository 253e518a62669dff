use roomz_tests::postgres_url_or_skip;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

/// A database of its own.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    _directory: Option<tempfile::TempDir>,
}

/// Runs an expression on a new connection.
macro_rules! with_connection {
    ($database:expr, $connection:ident => $run:expr) => {
        if $database.is_sqlite() {
            let mut $connection = SqliteConnection::connect(&$database.url).await.unwrap();
            let result = $run;
            $connection.close().await.unwrap();
            result
        } else {
            let mut $connection = PgConnection::connect(&$database.url).await.unwrap();
            let result = $run;
            $connection.close().await.unwrap();
            result
        }
    };
}

impl TestDatabase {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/inbox.db", directory.path().display());
        Self { url, _directory: Some(directory) }
    }

    /// A new database on the server that all tests of this process share.
    pub(crate) async fn postgres() -> Option<Self> {
        Some(Self::postgres_at(&postgres_url_or_skip()?).await)
    }

    /// A new database on this server.
    pub(crate) async fn postgres_at(url: &str) -> Self {
        let name = format!("inbox_{:032x}", rand::random::<u128>());
        let mut connection = PgConnection::connect(url).await.unwrap();
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        Self { url: format!("{}/{name}", url.rsplit_once('/').unwrap().0), _directory: None }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite")
    }

    /// Executes statements outside of the inbox.
    pub(crate) async fn execute(&self, sql: impl Into<String>) {
        let sql = AssertSqlSafe(sql.into());
        with_connection!(self, connection => {
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        });
    }

    /// Returns the number that a query returns.
    pub(crate) async fn number(&self, sql: impl Into<String>) -> i64 {
        let sql = AssertSqlSafe(sql.into());
        with_connection!(self, connection => sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap())
    }

    /// Creates the table of [`write_effect`](super::write_effect).
    pub(crate) async fn create_effects(&self) {
        self.execute("CREATE TABLE effects (event_id TEXT NOT NULL, attempt BIGINT NOT NULL)").await;
    }

    /// The attempts that wrote an effect.
    pub(crate) async fn effects(&self) -> Vec<i64> {
        let sql = "SELECT attempt FROM effects ORDER BY attempt";
        with_connection!(self, connection => sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap())
    }

    /// Ends every lease and every backoff.
    pub(crate) async fn make_due(&self) {
        self.execute("UPDATE roomz_inbox SET due = 0 WHERE state < 2").await;
    }
}
