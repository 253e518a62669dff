use std::error::Error;

use roomz_protocol::debug_error_chain;

/// A store operation failed. Its outcome may be unknown.
///
/// At a claim, the layer answers 503 with `Retry-After`, unless it fails open. It writes the error's text,
/// with its sources, to the log. Keep passwords out of the text of the source.
#[derive(thiserror::Error)]
#[error("the idempotency store {}", describe(*.kind))]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kind of a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached, or the operation failed. The error's `source()` says how.
    Unavailable,
    /// The store did not reply within the store timeout.
    TimedOut,
    /// The store has no room for another live claim.
    Full,
}

impl StoreError {
    /// Creates an error of the kind [`Unavailable`](StoreErrorKind::Unavailable).
    ///
    /// ```
    /// use roomz_webhook::store::{StoreError, StoreErrorKind};
    ///
    /// let error = StoreError::unavailable(std::io::Error::other("connection reset"));
    /// assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    /// ```
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: StoreErrorKind::Unavailable, source: Some(source.into()) }
    }

    /// Creates an error of the kind [`Full`](StoreErrorKind::Full).
    #[must_use]
    pub const fn full() -> Self {
        Self { kind: StoreErrorKind::Full, source: None }
    }

    /// Creates an error of the kind [`TimedOut`](StoreErrorKind::TimedOut).
    ///
    /// The layer has its own timeout; a store needs none.
    #[must_use]
    pub const fn timed_out() -> Self {
        Self { kind: StoreErrorKind::TimedOut, source: None }
    }

    /// Returns the kind.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

debug_error_chain!(StoreError);

const fn describe(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::Unavailable => "is unavailable",
        StoreErrorKind::TimedOut => "did not reply in time",
        StoreErrorKind::Full => "has no room for another live claim",
    }
}
