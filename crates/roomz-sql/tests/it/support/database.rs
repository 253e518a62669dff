//! A database for one test, with the tables of the crate and a table `effects`, used like the database of an
//! application.

use std::sync::Arc;
use std::time::Duration;

use roomz_sql::{
    CompleteError, PresenceChanges, PresencePoint, PresenceTable, SqlConnection, SqlStore, WorkspacePresence,
    complete,
};
use roomz_webhook::{Delivery, Event, EventId, LatestOutcome, WorkspacePresenceChanged};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Sqlite, SqlitePool};

use super::{new_database, sqlite_url};

/// The pool of an application.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// Runs an expression with the pool of either database.
macro_rules! with_pool {
    ($pool:expr, $name:ident => $run:expr) => {
        match $pool {
            Pool::Postgres($name) => $run,
            Pool::Sqlite($name) => $run,
        }
    };
}

/// Runs an expression with the transaction of either database.
macro_rules! with_transaction {
    ($transaction:expr, $name:ident => $run:expr) => {
        match $transaction {
            Transaction::Postgres($name) => $run,
            Transaction::Sqlite($name) => $run,
        }
    };
}

/// A database that no other test uses.
#[derive(Clone, Debug)]
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    pub(crate) pool: Pool,
    /// The directory of an SQLite file, which is deleted with the last clone.
    _directory: Option<Arc<tempfile::TempDir>>,
}

/// A row of `roomz_claims`: state, attempt and expiry.
pub(crate) type ClaimRow = (i64, i64, i64);
pub(crate) const RUNNING: i64 = 0;
pub(crate) const FREE: i64 = 1;
pub(crate) const DONE: i64 = 2;

/// An SQLite file, and a PostgreSQL database if there is a server.
pub(crate) async fn databases() -> Vec<TestDatabase> {
    let mut all = vec![TestDatabase::sqlite().await];
    all.extend(TestDatabase::postgres_or_skip().await);
    all
}

impl TestDatabase {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = sqlite_url(&directory);
        drop(SqlStore::connect(url.as_str()).await.unwrap());
        let options = SqlitePoolOptions::new().max_connections(16).acquire_timeout(Duration::from_secs(60));
        let file: SqliteConnectOptions = url.parse().unwrap();
        // Writers do not get the lock in order.
        let file = file.busy_timeout(Duration::from_secs(60));
        let pool = Pool::Sqlite(options.connect_with(file).await.unwrap());
        Self { url, pool, _directory: Some(Arc::new(directory)) }.with_table().await
    }

    pub(crate) async fn postgres_or_skip() -> Option<Self> {
        Some(Self::postgres_at(new_database().await?).await.with_table().await)
    }

    /// A database that exists, without the table `effects`.
    pub(crate) async fn postgres_at(url: String) -> Self {
        drop(SqlStore::connect(url.as_str()).await.unwrap());
        let options = PgPoolOptions::new().max_connections(16).acquire_timeout(Duration::from_secs(60));
        let pool = Pool::Postgres(options.connect(&url).await.unwrap());
        Self { url, pool, _directory: None }
    }

    pub(crate) async fn close(&self) {
        with_pool!(&self.pool, pool => pool.close().await);
    }

    /// The database with new connections.
    pub(crate) async fn reopened(&self) -> Self {
        let pool = match &self.pool {
            Pool::Postgres(_) => Pool::Postgres(PgPool::connect(&self.url).await.unwrap()),
            Pool::Sqlite(_) => Pool::Sqlite(SqlitePool::connect(&self.url).await.unwrap()),
        };
        Self { pool, ..self.clone() }
    }

    async fn with_table(self) -> Self {
        self.execute("CREATE TABLE effects (event_id TEXT NOT NULL)").await;
        self
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.pool, Pool::Postgres(_))
    }

    pub(crate) async fn execute(&self, statement: &str) {
        let statement = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        with_pool!(&self.pool, pool => statement.execute(pool).await.map(drop)).unwrap();
    }

    /// A store with connections of its own.
    pub(crate) async fn store(&self) -> SqlStore {
        SqlStore::connect(self.url.as_str()).await.unwrap()
    }

    /// A store on the pool of the application.
    pub(crate) async fn store_on_pool(&self) -> SqlStore {
        with_pool!(&self.pool, pool => SqlStore::connect(pool.clone()).await).unwrap()
    }

    pub(crate) async fn begin(&self) -> Transaction {
        match &self.pool {
            Pool::Postgres(pool) => Transaction::Postgres(pool.begin().await.unwrap()),
            Pool::Sqlite(pool) => Transaction::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await.unwrap()),
        }
    }

    /// Completes on a connection without a transaction.
    pub(crate) async fn complete_alone(&self, delivery: &Delivery) -> Result<(), CompleteError> {
        with_pool!(&self.pool, pool => complete(&mut *pool.acquire().await.unwrap(), delivery).await)
    }

    /// Forgets all effects and claims.
    pub(crate) async fn clear(&self) {
        self.execute("DELETE FROM effects; DELETE FROM roomz_claims").await;
    }

    pub(crate) async fn count_effects(&self) -> i64 {
        let count = "SELECT count(*) FROM effects";
        with_pool!(&self.pool, pool => sqlx::query_scalar(count).fetch_one(pool).await).unwrap()
    }

    /// The only row of `roomz_claims`.
    pub(crate) async fn claim_row(&self) -> ClaimRow {
        let select = "SELECT CAST(state AS BIGINT), attempt, expires FROM roomz_claims";
        with_pool!(&self.pool, pool => sqlx::query_as(select).fetch_one(pool).await).unwrap()
    }

    /// Ends the lease of every claim, as if its process had paused.
    pub(crate) async fn end_leases(&self) {
        self.execute("UPDATE roomz_claims SET lease_end = 0").await;
    }

    pub(crate) async fn changes_since(&self, table: &PresenceTable, point: PresencePoint) -> PresenceChanges {
        with_pool!(&self.pool, pool => table.changes_since(&mut *pool.acquire().await.unwrap(), point).await)
            .unwrap()
    }

    /// The presence of all workspaces, by their id.
    pub(crate) async fn presence(&self, table: &PresenceTable) -> Vec<WorkspacePresence> {
        let all = with_pool!(&self.pool, pool => table.all(&mut *pool.acquire().await.unwrap()).await);
        let mut all = all.unwrap();
        all.sort_by_key(|workspace| workspace.workspace_id);
        all
    }
}

/// A transaction of the application.
pub(crate) enum Transaction {
    Postgres(sqlx::Transaction<'static, Postgres>),
    Sqlite(sqlx::Transaction<'static, Sqlite>),
}

impl Transaction {
    pub(crate) async fn insert_effect(&mut self, id: EventId) {
        let insert = "INSERT INTO effects (event_id) VALUES ($1)";
        let id = id.to_string();
        with_transaction!(self, it => sqlx::query(insert).bind(id).execute(&mut **it).await.map(drop))
            .unwrap();
    }

    pub(crate) async fn complete(&mut self, delivery: &Delivery) -> Result<(), CompleteError> {
        with_transaction!(self, it => complete(&mut **it, delivery).await)
    }

    pub(crate) async fn apply(
        &mut self,
        table: &PresenceTable,
        event: &Event<WorkspacePresenceChanged>,
    ) -> LatestOutcome {
        async fn apply<C: SqlConnection>(
            connection: &mut C,
            table: &PresenceTable,
            event: &Event<WorkspacePresenceChanged>,
        ) -> LatestOutcome {
            let outcome = table.apply(connection, event).await.unwrap();
            let kept = table.get(connection, event.data.workspace_id).await.unwrap().unwrap();
            assert!((event.timestamp, event.id) <= (kept.timestamp, kept.event_id));
            outcome
        }
        with_transaction!(self, it => apply(&mut **it, table, event).await)
    }

    pub(crate) async fn commit(self) {
        with_transaction!(self, it => it.commit().await).unwrap();
    }

    pub(crate) async fn rollback(self) {
        with_transaction!(self, it => it.rollback().await).unwrap();
    }
}
