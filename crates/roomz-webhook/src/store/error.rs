use std::error::Error;
use std::fmt;

/// A store could not say or do what it was asked.
///
/// The layer answers 503 with `Retry-After`, so the error's text goes to the log only. Keep passwords out of the
/// source's text all the same.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Why a store failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It cannot be reached, or it failed; the error's `source()` says how.
    Unavailable,
    /// It did not answer in time.
    TimedOut,
    /// It has no room for another live claim.
    Full,
}

impl StoreError {
    /// The store cannot be reached, or failed.
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

    /// The store has no room for another live claim.
    #[must_use]
    pub const fn full() -> Self {
        Self { kind: StoreErrorKind::Full, source: None }
    }

    /// The store did not answer in time. The layer says this of a store; a store need not.
    #[must_use]
    pub const fn timed_out() -> Self {
        Self { kind: StoreErrorKind::TimedOut, source: None }
    }

    /// Why it failed.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the idempotency store is unavailable",
            StoreErrorKind::TimedOut => "the idempotency store did not answer in time",
            StoreErrorKind::Full => "the idempotency store has no room for another live claim",
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
