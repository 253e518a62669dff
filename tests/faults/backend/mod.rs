//! The servers of the stores, and the faults that they support.

mod cluster;
mod pgbouncer;
mod postgres;
mod redis;
mod sqlite;

use std::net::SocketAddr;
use std::time::Duration;

pub(crate) use self::cluster::Cluster;
pub(crate) use self::pgbouncer::{Sessions, Transactions};
pub(crate) use self::postgres::Postgres;
pub(crate) use self::redis::Redis;
pub(crate) use self::sqlite::Sqlite;

/// A fault of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerFault {
    /// Killed with `SIGKILL`. It restarts with what it has written to disk.
    Killed,
    /// Stopped with `SIGSTOP`. Its connections stay open.
    Stopped,
    /// It runs, but all clients wait: for `CLIENT PAUSE` to end, or for a lock on the table.
    StallsClients,
    /// It has no space for new data.
    Full,
    /// It rejects writes.
    ReadOnly,
    /// It rejects or does not confirm writes without a replica.
    LacksReplica,
    /// The pooler in front of it is killed with `SIGKILL`.
    PoolerKilled,
}

/// The server of a store.
pub(crate) trait Backend: Sized + Send {
    /// The name in the report.
    const NAME: &'static str;

    /// Starts a server that persists every write before it replies. Reports a skipped test if it is not
    /// installed.
    fn start() -> Option<Self>;

    /// The URL of the store. `address` replaces the address of the server.
    fn url(&self, address: Option<SocketAddr>) -> String;

    /// The address of the server.
    fn address(&self) -> SocketAddr;

    /// Begins a fault that will last for `duration`. Panics if this server does not support it.
    fn begin(&mut self, fault: ServerFault, duration: Duration);

    /// Ends the fault.
    fn end(&mut self, fault: ServerFault);
}
