use std::error::Error;
use std::fmt;
use std::sync::Arc;

use roomz_sql::db::queue::Failed;
use roomz_webhook::roomz_protocol::debug_error_chain;

/// An error of a handler.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why an operation of the inbox failed.
///
/// `Display` says what happened and what to do. `Debug` adds the causes.
pub struct InboxError {
    kind: InboxErrorKind,
    source: Option<Arc<sqlx::Error>>,
}

/// The kind of an [`InboxError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InboxErrorKind {
    /// The database failed or did not reply in time.
    Unavailable,
    /// The inbox holds as many open events as [`with_max_open`](crate::InboxBuilder::with_max_open) allows.
    Full,
    /// The inbox is in the other database: PostgreSQL and not SQLite, or the reverse.
    OtherDatabase,
    /// The job is one of a unit test, `Job::for_test`, and has no database.
    NoDatabase,
}

impl InboxError {
    pub(crate) const fn new(kind: InboxErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Returns the kind.
    ///
    /// ```
    /// use roomz_inbox::{InboxError, InboxErrorKind};
    ///
    /// fn can_retry(error: &InboxError) -> bool {
    ///     error.kind() != InboxErrorKind::OtherDatabase
    /// }
    /// ```
    #[must_use]
    pub const fn kind(&self) -> InboxErrorKind {
        self.kind
    }
}

impl From<sqlx::Error> for InboxError {
    fn from(error: sqlx::Error) -> Self {
        Failed::from(error).into()
    }
}

impl From<Failed> for InboxError {
    fn from(failed: Failed) -> Self {
        Self { kind: InboxErrorKind::Unavailable, source: Some(failed.into()) }
    }
}

debug_error_chain!(InboxError);

impl fmt::Display for InboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            InboxErrorKind::Unavailable => {
                "the database of the inbox failed or did not reply in time; check the server, the free disk space, and that \
                 no handler keeps its transaction open for long"
            }
            InboxErrorKind::Full => {
                "the inbox is full; check that its worker runs, and raise its concurrency or `with_max_open`"
            }
            InboxErrorKind::OtherDatabase => {
                "the inbox is in the other database; call `Job::postgres` for PostgreSQL and `Job::sqlite` for SQLite"
            }
            InboxErrorKind::NoDatabase => "a job of `Job::for_test` has no database; use an inbox in the test",
        })
    }
}

impl Error for InboxError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|error| error as _)
    }
}
