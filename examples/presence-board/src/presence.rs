//! The presence in the SQL database of the store: a restart does not lose it, and all instances show the
//! same.

use std::error::Error;
use std::str::FromStr as _;
use std::time::Duration;

use roomz_axum::{Delivery, Event, WorkspacePresenceChanged};
use roomz_sql::{PresenceChanges, PresencePoint, PresenceTable};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};

use crate::board::Board;

/// How often the changes of other instances are read.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The layer gives up on the store after 2 s. A shorter wait leaves it time to answer.
const BUSY_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The connections for the handler's transactions. A service that uses one database needs one of the two.
#[derive(Clone)]
pub enum SharedPresence {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

impl SharedPresence {
    /// Opens the database of a store that is connected already, which created the tables.
    pub fn open(url: &str) -> Result<Self, sqlx::Error> {
        if !url.starts_with("sqlite:") {
            return Ok(Self::Postgres(PgPool::connect_lazy(url)?));
        }
        let options = SqliteConnectOptions::from_str(url)?
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        // SQLite has one writer.
        Ok(Self::Sqlite(SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options)))
    }

    /// Keeps the status and completes the event in one transaction: a crash leaves both or neither.
    pub async fn record(
        &self,
        delivery: &Delivery,
        event: &Event<WorkspacePresenceChanged>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let table = PresenceTable::default();
        match self {
            Self::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                table.apply(&mut *transaction, event).await?;
                roomz_sql::complete(&mut *transaction, delivery).await?;
                transaction.commit().await?;
            }
            Self::Sqlite(pool) => {
                let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
                table.apply(&mut *transaction, event).await?;
                roomz_sql::complete(&mut *transaction, delivery).await?;
                transaction.commit().await?;
            }
        }
        Ok(())
    }

    /// Shows what changed since a point, and returns the next point.
    pub async fn show_changes(
        &self,
        board: &Board,
        point: PresencePoint,
    ) -> Result<PresencePoint, sqlx::Error> {
        let PresenceChanges { workspaces, next, .. } = self.changes_since(point).await?;
        for workspace in workspaces {
            board.show(workspace);
        }
        Ok(next)
    }

    async fn changes_since(&self, point: PresencePoint) -> Result<PresenceChanges, sqlx::Error> {
        let table = PresenceTable::default();
        match self {
            Self::Postgres(pool) => table.changes_since(&mut *pool.acquire().await?, point).await,
            Self::Sqlite(pool) => table.changes_since(&mut *pool.acquire().await?, point).await,
        }
    }

    /// Shows the changes of all instances, without an end.
    pub async fn follow(self, board: Board, mut point: PresencePoint) {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            match self.show_changes(&board, point).await {
                Ok(next) => point = next,
                Err(error) => tracing::warn!(%error, "cannot read the presence"),
            }
        }
    }
}
