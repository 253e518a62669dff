//! The presence in the SQL database of the store: a restart does not lose it, and all instances show the
//! same.

use std::error::Error;
use std::time::Duration;

use roomz_axum::{Delivery, Event, WorkspacePresenceChanged};
use roomz_sql::{
    ConnectError, PresenceChanges, PresencePoint, PresenceTable, postgres_options, sqlite_options,
};
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{PgPool, SqlitePool};

use crate::board::Board;

/// How often the changes of other instances are read.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The connections for the handler's transactions. A service that uses one database needs one of the two.
#[derive(Clone)]
pub enum SharedPresence {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

impl SharedPresence {
    /// Opens the database of a store that is connected already, which created the tables.
    pub fn open(url: &str) -> Result<Self, ConnectError> {
        if !url.starts_with("sqlite:") {
            return Ok(Self::Postgres(PgPool::connect_lazy_with(postgres_options(url)?)));
        }
        // SQLite has one writer.
        Ok(Self::Sqlite(SqlitePoolOptions::new().max_connections(1).connect_lazy_with(sqlite_options(url)?)))
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

    /// Shows the presence of all workspaces, and from then on the changes of all instances.
    pub async fn start(&self, board: &Board) -> Result<(), sqlx::Error> {
        let point = self.show_changes(board, PresencePoint::default()).await?;
        tokio::spawn(self.clone().follow(board.clone(), point));
        Ok(())
    }

    /// Shows what changed since a point, or everything if the point belongs to another history of the
    /// database. Returns the next point.
    async fn show_changes(&self, board: &Board, point: PresencePoint) -> Result<PresencePoint, sqlx::Error> {
        let PresenceChanges { workspaces, is_snapshot, next, .. } = self.changes_since(point).await?;
        if is_snapshot {
            if point != PresencePoint::default() {
                tracing::warn!(
                    "the database was restarted, restored or replaced: the whole presence was read again"
                );
            }
            board.replace(workspaces);
        } else {
            workspaces.into_iter().for_each(|workspace| board.show(workspace));
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

    async fn follow(self, board: Board, mut point: PresencePoint) {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            match self.show_changes(&board, point).await {
                Ok(next) => point = next,
                Err(error) => tracing::warn!(%error, "cannot read the presence"),
            }
        }
    }
}
