//! The servers of the stores, and what can be done to them.

mod postgres;
mod redis;
mod sqlite;

use std::net::SocketAddr;
use std::time::Duration;

pub(crate) use self::postgres::Postgres;
pub(crate) use self::redis::Redis;
pub(crate) use self::sqlite::Sqlite;

/// What can be the matter with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Killed at once; it comes back with what it has written down.
    Killed,
    /// It keeps its connections and does nothing.
    Stopped,
    /// It runs, and lets everybody wait: for its clock, or for a lock on the table.
    Paused,
    /// It has no room for anything new.
    Full,
    /// It takes no writes.
    ReadOnly,
    /// It takes no writes, or confirms none, until somebody copies them.
    LacksReplica,
}

/// The server of a store.
pub(crate) trait Backend: Sized + Send {
    /// In the report.
    const NAME: &'static str;

    /// Starts one that forgets nothing it has answered. `None`, and said, where it is not installed.
    fn start() -> Option<Self>;

    /// What a receiver opens, at this address instead of the server's own.
    fn url(&self, address: Option<SocketAddr>) -> String;

    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// Begins the trouble, which will take so long. Panics for one that it cannot have.
    fn begin(&mut self, trouble: Trouble, time: Duration);

    /// Ends it.
    fn end(&mut self, trouble: Trouble);
}
