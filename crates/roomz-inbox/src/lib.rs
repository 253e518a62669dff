//! A durable inbox.

#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
compile_error!("roomz-inbox needs the feature `postgres` or the feature `sqlite`");

mod admission;
mod attempt;
mod backoff;
mod endpoint;
mod entry;
mod error;
mod error_text;
mod inbox;
mod job;
mod pool;
mod queue;
mod row;
mod statements;
mod telemetry;
mod transaction;
mod worker;
mod worker_builder;

pub use self::admission::Enqueued;
pub use self::endpoint::Endpoint;
pub use self::entry::{InboxEntry, InboxState, InboxStats};
pub use self::error::{InboxError, InboxErrorKind};
pub use self::inbox::{Inbox, InboxBuilder};
pub use self::job::Job;
pub use self::worker::Worker;
pub use self::worker_builder::{DeadLetter, WorkerBuilder};
pub use roomz_sql::{ConnectError, ConnectErrorKind, Database};
pub use roomz_webhook::{Event, EventData, EventId, PresenceStatus, WorkspaceId, WorkspacePresenceChanged};

/// An error of a handler.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
