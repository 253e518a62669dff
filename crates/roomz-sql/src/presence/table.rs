use std::sync::Arc;

use roomz_webhook::roomz_protocol::{CLOCK_SKEW, Uuid};
use roomz_webhook::{
    Event, EventId, LatestOutcome, PresenceStatus, Timestamp, WorkspaceId, WorkspacePresenceChanged,
};
use sqlx::Error;

use crate::connection::{SqlConnection, fetch};
use crate::db::driver::Driver as _;
use crate::db::value::{Row, Value};
use crate::presence::statements::Statements;

/// The latest presence of each workspace, in the table `roomz_presence`.
///
/// [`SqlStore::connect`](crate::SqlStore::connect) creates the table. All instances of a receiver see the
/// same building, and a restart loses nothing. Apply each event in the transaction that
/// [completes](crate::complete) it:
///
/// ```no_run
/// use roomz_sql::PresenceTable;
/// use roomz_webhook::{Delivery, WorkspacePresenceChanged};
///
/// # #[cfg(feature = "postgres")]
/// async fn record(pool: &sqlx::PgPool, delivery: &Delivery) -> Result<(), Box<dyn std::error::Error>> {
///     let Some(event) = delivery.event().typed::<WorkspacePresenceChanged>() else { return Ok(()) };
///     let mut transaction = pool.begin().await?;
///     PresenceTable::new(delivery.namespace()).apply(&mut *transaction, &event).await?;
///     roomz_sql::complete(&mut *transaction, delivery).await?;
///     transaction.commit().await?;
///     Ok(())
/// }
/// ```
///
/// Like [`Latest`](roomz_webhook::Latest), it keeps the status of the event with the highest timestamp, and
/// then with the highest id. Events may arrive in any order and any number of times. A row whose timestamp is
/// more than 5 min in the future, by the clock of this process, is replaced by the next event.
///
/// The columns may be read with SQL, and rows of removed workspaces deleted.
/// [`changes_since`](Self::changes_since) does not report a deleted row.
#[derive(Clone, Debug)]
pub struct PresenceTable {
    namespace: Arc<str>,
}

/// The presence of one workspace in a [`PresenceTable`].
///
/// ```
/// use roomz_sql::WorkspacePresence;
///
/// fn line(workspace: &WorkspacePresence) -> String {
///     format!("{} has been {} since {}", workspace.workspace_id, workspace.status, workspace.timestamp)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WorkspacePresence {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The status of the newest event.
    pub status: PresenceStatus,
    /// The timestamp of the newest event.
    pub timestamp: Timestamp,
    /// The id of the newest event.
    pub event_id: EventId,
}

/// The result of [`PresenceTable::changes_since`]: the changed workspaces, and the point from which to
/// continue.
///
/// ```
/// use std::collections::HashMap;
/// use roomz_sql::{PresenceChanges, PresencePoint, WorkspacePresence};
/// use roomz_webhook::WorkspaceId;
///
/// fn update(floor: &mut HashMap<WorkspaceId, WorkspacePresence>, changes: PresenceChanges) -> PresencePoint {
///     if changes.is_snapshot {
///         floor.clear();
///     }
///     floor.extend(changes.workspaces.into_iter().map(|workspace| (workspace.workspace_id, workspace)));
///     changes.next
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PresenceChanges {
    /// The workspaces that changed, in no order.
    pub workspaces: Vec<WorkspacePresence>,
    /// Whether `workspaces` are all workspaces of the table, which replace everything that was read before.
    ///
    /// This is so for the default point, and for a point of another history: the database was restored or
    /// replaced, or a failover led to a server that lacks some changes. It is also so once after each restart
    /// of PostgreSQL.
    pub is_snapshot: bool,
    /// The point for the next call.
    pub next: PresencePoint,
}

/// A point in the changes of a [`PresenceTable`]. The default is the point before all changes.
///
/// It is valid for the history of the database that returned it, and while the process runs. Any other
/// database and history returns everything; see [`is_snapshot`](PresenceChanges::is_snapshot).
///
/// ```
/// use roomz_sql::PresencePoint;
///
/// let everything = PresencePoint::default();
/// # let _ = everything;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PresencePoint {
    history: i64,
    change: i64,
}

impl PresenceTable {
    /// Creates the table of a namespace: that of the layer, or the [`Tenant`](roomz_webhook::Tenant) of a
    /// [`Delivery`](roomz_webhook::Delivery::namespace).
    ///
    /// ```
    /// let presence = roomz_sql::PresenceTable::new("staging");
    /// # drop(presence);
    /// ```
    pub fn new(namespace: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into() }
    }

    /// Keeps the status of this event if the event is newer than the kept one.
    ///
    /// It is one statement. In a transaction, another transaction that applies an event of the same workspace
    /// waits for the end of this one. The character NUL, which PostgreSQL cannot store, is replaced by
    /// U+FFFD.
    ///
    /// ```
    /// use roomz_sql::PresenceTable;
    /// use roomz_webhook::{Event, LatestOutcome, PresenceStatus, WorkspacePresenceChanged};
    /// # use roomz_sql::SqlStore;
    /// # use roomz_webhook::testing::TestEvent;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let url = format!("sqlite://{}/floors.db", directory.path().display());
    /// # drop(SqlStore::connect(&url).await?);
    /// # let pool = sqlx::SqlitePool::connect(&url).await?;
    /// # let event: Event<WorkspacePresenceChanged> = Event::parse(&TestEvent::busy().body())?.typed().ok_or("another type")?;
    ///
    /// let presence = PresenceTable::default();
    /// let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    /// assert_eq!(presence.apply(&mut *transaction, &event).await?, LatestOutcome::Newest);
    /// assert_eq!(presence.apply(&mut *transaction, &event).await?, LatestOutcome::Duplicate);
    /// transaction.commit().await?;
    ///
    /// let kept = presence.get(&mut *pool.acquire().await?, event.data.workspace_id).await?.ok_or("not kept")?;
    /// assert_eq!((kept.status, kept.event_id), (PresenceStatus::Busy, event.id));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The error of the database, for example because the table is missing.
    pub async fn apply<C: SqlConnection>(
        &self,
        connection: &mut C,
        event: &Event<WorkspacePresenceChanged>,
    ) -> Result<LatestOutcome, Error> {
        let status = event.data.presence_status.as_str().replace('\0', "\u{fffd}");
        let workspace = Value::from(event.data.workspace_id.as_uuid().as_bytes());
        let values = vec![
            Value::Text(Arc::clone(&self.namespace)),
            workspace,
            Value::from(status.as_str()),
            Value::Number(event.timestamp.as_second()),
            Value::Number(event.timestamp.subsec_nanosecond().into()),
            Value::from(event.id.as_uuid().as_bytes()),
            Value::Number((Timestamp::now() + CLOCK_SKEW).as_second()),
        ];
        if !fetch(connection, &statements::<C>().apply, &values).await?.is_empty() {
            return Ok(LatestOutcome::Newest);
        }
        let kept = self.get(connection, event.data.workspace_id).await?;
        let is_kept = kept.is_some_and(|kept| (kept.timestamp, kept.event_id) == (event.timestamp, event.id));
        Ok(if is_kept { LatestOutcome::Duplicate } else { LatestOutcome::Late })
    }

    /// Returns the presence of a workspace, or `None` if no event of it was applied.
    ///
    /// ```
    /// use roomz_sql::{PresenceTable, SqlConnection};
    /// use roomz_webhook::{PresenceStatus, WorkspaceId};
    ///
    /// async fn is_free<C: SqlConnection>(connection: &mut C, desk: WorkspaceId) -> Result<bool, sqlx::Error> {
    ///     let presence = PresenceTable::default().get(connection, desk).await?;
    ///     Ok(presence.is_some_and(|presence| presence.status == PresenceStatus::Free))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The error of the database.
    pub async fn get<C: SqlConnection>(
        &self,
        connection: &mut C,
        workspace: WorkspaceId,
    ) -> Result<Option<WorkspacePresence>, Error> {
        let values = [Value::Text(Arc::clone(&self.namespace)), Value::from(workspace.as_uuid().as_bytes())];
        let rows = fetch(connection, &statements::<C>().get, &values).await?;
        rows.first().map(presence).transpose()
    }

    /// Returns the presence of all workspaces, in no order.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # async fn print(pool: sqlx::PgPool) -> Result<(), sqlx::Error> {
    /// let presence = roomz_sql::PresenceTable::default();
    /// for workspace in presence.all(&mut *pool.acquire().await?).await? {
    ///     println!("{} {}", workspace.workspace_id, workspace.status);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The error of the database.
    pub async fn all<C: SqlConnection>(&self, connection: &mut C) -> Result<Vec<WorkspacePresence>, Error> {
        Ok(self.changes_since(connection, PresencePoint::default()).await?.workspaces)
    }

    /// Returns the workspaces that changed since a point, with their presence now.
    ///
    /// No change is skipped, in whatever order the transactions commit. A workspace can be returned again
    /// although it did not change. On PostgreSQL this happens while a transaction that began to write before
    /// the change still runs, in any database of the server.
    ///
    /// Not noticed: rows that are deleted, and rows that a dump inserts into the table that exists. On
    /// SQLite, open connections keep a file that was replaced: restart the process after a restore.
    ///
    /// ```
    /// use roomz_sql::{PresencePoint, PresenceTable};
    /// use roomz_webhook::{Event, WorkspacePresenceChanged};
    /// # use roomz_sql::SqlStore;
    /// # use roomz_webhook::testing::TestEvent;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let url = format!("sqlite://{}/floors.db", directory.path().display());
    /// # drop(SqlStore::connect(&url).await?);
    /// # let pool = sqlx::SqlitePool::connect(&url).await?;
    /// # let event: Event<WorkspacePresenceChanged> = Event::parse(&TestEvent::busy().body())?.typed().ok_or("another type")?;
    ///
    /// let presence = PresenceTable::default();
    /// let mut connection = pool.acquire().await?;
    /// presence.apply(&mut *connection, &event).await?;
    /// let changes = presence.changes_since(&mut *connection, PresencePoint::default()).await?;
    /// assert_eq!(changes.workspaces[0].workspace_id, event.data.workspace_id);
    ///
    /// // Once per second, for example:
    /// let changes = presence.changes_since(&mut *connection, changes.next).await?;
    /// assert!(changes.workspaces.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The error of the database.
    pub async fn changes_since<C: SqlConnection>(
        &self,
        connection: &mut C,
        point: PresencePoint,
    ) -> Result<PresenceChanges, Error> {
        let file = C::Database::file_identity(connection).await?;
        let numbers = [point.change, point.history, file].map(Value::Number);
        let values: Vec<_> =
            std::iter::once(Value::Text(Arc::clone(&self.namespace))).chain(numbers).collect();
        let rows = fetch(connection, &statements::<C>().changes, &values).await?;
        // Without changes, one row has only the next point.
        let row = rows.first().ok_or(Error::RowNotFound)?;
        let next = PresencePoint { change: row.number(5)?, history: row.number(6)? };
        let is_snapshot = row.number(7)? == 0;
        let changed = rows.iter().filter(|row| !row.is_null(0));
        Ok(PresenceChanges {
            workspaces: changed.map(presence).collect::<Result<_, _>>()?,
            is_snapshot,
            next,
        })
    }
}

/// The table of the layer's default namespace, `roomz`.
impl Default for PresenceTable {
    fn default() -> Self {
        Self::new("roomz")
    }
}

fn statements<C: SqlConnection>() -> &'static Statements {
    Statements::of(C::Database::DIALECT)
}

fn presence(row: &Row) -> Result<WorkspacePresence, Error> {
    let decode = |error| Error::Decode(error);
    let uuid = |column| Uuid::from_slice(row.bytes(column)?).map_err(|error| decode(error.into()));
    let nanoseconds = i32::try_from(row.number(3)?).map_err(|error| decode(error.into()))?;
    Ok(WorkspacePresence {
        workspace_id: uuid(0)?.into(),
        status: PresenceStatus::new(row.text(1)?),
        timestamp: Timestamp::new(row.number(2)?, nanoseconds).map_err(|error| decode(error.into()))?,
        event_id: uuid(4)?.into(),
    })
}
