//! What `src/bin/inbox-receiver.rs` and the tests that start it share: its settings and its logs.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use crate::fleet::{Argument, millis};
use crate::recorder::Log;
use crate::sender::now;

/// The log of [`Effect`]s in the directory of a fleet.
pub const EFFECTS: &str = "effects";
/// The log of [`Line`]s in the directory of a fleet.
pub const LINES: &str = "lines";
/// The presence status of an event that kills the process that handles it.
pub const KILLING_STATUS: &str = "Kill";

/// The settings of an inbox in a process of its own: endpoint and worker.
#[derive(Clone, Copy, Debug)]
pub struct InboxSettings {
    /// The number of handlers that run at once.
    pub concurrency: usize,
    /// The lease of an attempt.
    pub lease: Duration,
    /// The maximum number of attempts.
    pub max_attempts: u32,
    /// The pause before the second attempt.
    pub backoff: Duration,
    /// The maximum time from the start of a handler to its insert.
    pub handler_time: Duration,
    /// The maximum time from the insert to the end of the handler.
    pub transaction_time: Duration,
}

/// An insert into `presence_log` of a handler that is about to return. It takes effect only if its
/// transaction is committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Effect {
    /// The event's id.
    pub id: String,
    /// The attempt number.
    pub attempt: u32,
    /// The id of the process.
    pub process: u32,
}

/// A log line of `roomz-inbox` with the level `WARN` or `ERROR`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The constant message.
    pub message: String,
    /// The other fields.
    pub fields: HashMap<String, String>,
    /// The time, in microseconds since 1970.
    pub time: u128,
    /// The id of the process.
    pub process: u32,
}

impl InboxSettings {
    /// The arguments of a process on the database with this URL.
    pub fn arguments(&self, database: &str) -> Vec<Argument> {
        vec![
            ("--database", database.to_owned()),
            ("--concurrency", self.concurrency.to_string()),
            ("--lease", millis(self.lease)),
            ("--max-attempts", self.max_attempts.to_string()),
            ("--backoff", millis(self.backoff)),
            ("--handler-time", millis(self.handler_time)),
            ("--transaction-time", millis(self.transaction_time)),
        ]
    }
}

impl Line {
    /// Writes the lines of this process to a log from now on.
    pub fn log_to(path: &Path) {
        let is_wanted = filter_fn(|metadata| {
            metadata.target().starts_with("roomz_inbox") && *metadata.level() <= Level::WARN
        });
        let subscriber = Registry::default().with(LineLayer(Log::open(path)).with_filter(is_wanted));
        tracing::subscriber::set_global_default(subscriber).unwrap();
    }

    /// The value of a field, or an empty text.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

struct LineLayer(Log);

impl<S: Subscriber> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.0.remove("message").unwrap_or_default();
        self.0.write(&Line { message, fields: fields.0, time: now(), process: std::process::id() });
    }
}

#[derive(Default)]
struct Fields(HashMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = self.0.entry(field.name().to_owned()).or_default();
        let _ = write!(text, "{value:?}");
    }
}
