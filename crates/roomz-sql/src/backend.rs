use crate::operation::{ClaimOperation, Operation, Purge, Settlement};

/// A database on which workers execute operations.
pub(crate) trait Backend: Send + Sync + 'static {
    type Connection: Send;

    /// Opens a connection that can write. The other workers have `open` connections.
    fn connect(&self, open: usize) -> impl Future<Output = Result<Self::Connection, sqlx::Error>> + Send;

    /// Tests an idle connection.
    fn ping(&self, connection: &mut Self::Connection)
    -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Closes a connection that stopped replying, without waiting for the server.
    fn abandon(&self, connection: Self::Connection);

    /// Closes a connection.
    fn close(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send;

    /// Classifies the error of a statement.
    fn classify(&self, error: &sqlx::Error) -> Failure;
}

/// A backend that executes operations of one type.
pub(crate) trait Execute<O: Operation>: Backend {
    /// Executes the operations in one transaction. Returns their outcomes, in order, once the transaction is durable.
    fn execute(
        &self,
        connection: &mut Self::Connection,
        operations: &[&O],
    ) -> impl Future<Output = Result<Vec<O::Outcome>, sqlx::Error>> + Send;
}

/// A backend that executes all operations.
pub(crate) trait ExecuteAll: Execute<ClaimOperation> + Execute<Settlement> + Execute<Purge> {}

impl<B: Execute<ClaimOperation> + Execute<Settlement> + Execute<Purge>> ExecuteAll for B {}

/// What a failed statement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection cannot be used any more, and a new connection can help.
    Broken,
    /// Another session holds a lock for longer than a statement waits, or the server resolved a deadlock.
    Locked,
    /// Another process writes to the SQLite file, or two transactions conflict. The same batch can succeed later.
    Busy,
    /// The database rejected the statement.
    Rejected,
}
