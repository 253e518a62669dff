use std::time::Duration;

use crate::backend::ExecuteAll;
use crate::worker::{Timeouts, Workers};

/// How long a handler of the inbox waits for a connection. On SQLite it waits for the other handlers.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// The settings that the builder collects and that connecting reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) migrations: bool,
    pub(crate) max_connections: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    /// Statements that `connect` executes in a transaction, after its own, to test further tables.
    pub(crate) test: &'static str,
    /// `None` if nothing is purged in the background.
    pub(crate) purge_interval: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            migrations: true,
            max_connections: 2,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_millis(1_500),
            test: "",
            purge_interval: Some(Duration::from_secs(10 * 60)),
        }
    }
}

impl Settings {
    pub(crate) fn spawn(&self, backend: impl ExecuteAll, connections: u32) -> Workers {
        let timeouts = Timeouts { connect: self.connect_timeout, response: self.response_timeout };
        Workers::spawn(backend, connections, timeouts)
    }
}
