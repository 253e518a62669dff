use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::error::StoreError;
use super::key::{ClaimKey, Fingerprint, Owner};

/// A store of claims: which events are in flight and which are done, for one process or for many.
///
/// A store keeps one record per [`ClaimKey`]: the state, the [`Owner`], the [`Fingerprint`] of the body, the
/// attempt, the end of the lease, and the expiry. It uses its own clock.
///
/// ```text
///  absent, expired ── claim ──▶ RUNNING(owner, attempt 1)       Claimed(1)
///  RUNNING, lease live ── claim ──▶ unchanged                   InFlight
///  RUNNING, lease over ── claim ──▶ RUNNING(owner, attempt + 1) Claimed(attempt + 1), for exactly one caller
///  RUNNING ── renew by its owner ──▶ lease moved                Applied
///  RUNNING ── complete by its owner ──▶ DONE, kept              Applied (also after the lease, without a takeover)
///  RUNNING ── release by its owner ──▶ free, attempt kept       Applied
///  free ── claim ──▶ RUNNING(owner, attempt + 1)                Claimed(attempt + 1)
///  DONE ── claim ──▶ unchanged                                  Done
///  renew, complete, release by anyone else ──▶ unchanged        Lost
/// ```
///
/// Each operation is **atomic**: two callers never both get `Claimed`. There is no get and no unconditional
/// set or delete, because a caller could not use them safely. No operation has a default implementation.
///
/// # Requirements
///
/// - A claim repeated by the same owner (its reply was lost) returns `Claimed` with the same attempt and a
///   new lease. A completion repeated by the same owner returns `Applied`.
/// - The record keeps the fingerprint of the body that created it. A claim with another fingerprint gets the
///   same state, with [`Claim::fingerprint_matches`] set to `false`.
/// - A record expires when the retention of the last claim or completion ends, but never before its lease
///   ends. A renewal may start the retention again. The store may delete expired records at any time.
/// - A full store may evict done and free records, the oldest first, and never a live claim: keep live claims
///   outside a cache that evicts. A claim for which there is no room is [`StoreError::full`].
/// - Durations have a resolution of one millisecond or better.
/// - A future may be dropped at any point, for example by the caller's timeout. The operation then either
///   happened completely or not at all.
/// - An operation whose outcome is unknown returns [`StoreError`]. Unless it fails open, the caller does not
///   run the handler.
///
/// This wrapper counts claims and forwards every operation:
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
/// use roomz_webhook::store::{
///     Claim, ClaimKey, ClaimRequest, IdempotencyStore, Owner, Settled, StoreError, async_trait,
/// };
///
/// struct Counting<S> {
///     inner: S,
///     claims: AtomicU64,
/// }
///
/// #[async_trait]
/// impl<S: IdempotencyStore> IdempotencyStore for Counting<S> {
///     async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
///         self.claims.fetch_add(1, Ordering::Relaxed);
///         self.inner.claim(key, claim).await
///     }
///
///     async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
///         self.inner.renew(key, owner, lease).await
///     }
///
///     async fn complete(&self, key: &ClaimKey, owner: Owner, retention: Duration) -> Result<Settled, StoreError> {
///         self.inner.complete(key, owner, retention).await
///     }
///
///     async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
///         self.inner.release(key, owner).await
///     }
/// }
/// ```
///
/// Test your store with `store_contract!` (feature `testing`). Give it a second instance on the same data
/// (`StoreUnderTest::with_peer`), because stores fail most often between instances, and if it has a limit, a
/// low one. The example `custom-store` implements a store and runs the suite.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store for claims",
    label = "expected `MokaStore`, `SqlStore`, `RedisStore`, or a type that implements `IdempotencyStore`",
    note = "implement `roomz_webhook::store::IdempotencyStore` with `#[roomz_webhook::store::async_trait]`",
    note = "a store chosen at run time is passed as `Arc<dyn IdempotencyStore>`"
)]
#[async_trait]
pub trait IdempotencyStore: Send + Sync + 'static {
    /// Claims the event for `claim.owner`, unless it is done or another owner's lease is live.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the outcome is unknown. The claim may have been written.
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError>;

    /// Sets the end of the lease to `lease` from now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the outcome is unknown.
    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError>;

    /// Marks the event as done, for `retention` from now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the outcome is unknown.
    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError>;

    /// Frees the event for the next claim. The attempt is kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the outcome is unknown.
    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError>;
}

#[async_trait]
impl<T: IdempotencyStore + ?Sized> IdempotencyStore for Arc<T> {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        T::claim(self, key, claim).await
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        T::renew(self, key, owner, lease).await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        T::complete(self, key, owner, retention).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        T::release(self, key, owner).await
    }
}

/// What the owner of a claim does to it: the operations that return [`Settled`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum OwnerUpdate {
    Renew { lease: Duration },
    Complete { retention: Duration },
    Release,
}

impl OwnerUpdate {
    /// The name of the operation in logs and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Renew { .. } => "renew",
            Self::Complete { .. } => "complete",
            Self::Release => "release",
        }
    }

    pub(crate) const fn is_completion(self) -> bool {
        matches!(self, Self::Complete { .. })
    }
}

/// The arguments of [`IdempotencyStore::claim`].
///
/// ```
/// use std::time::Duration;
/// use roomz_webhook::EventId;
/// use roomz_webhook::store::{
///     ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, MokaStore, Owner, Settled,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store: &dyn IdempotencyStore = &MokaStore::new();
/// let id: EventId = "e6ae112e-2af3-4d72-894b-03435d7afde4".parse()?;
/// let key = ClaimKey::new("roomz".into(), id);
/// let (owner, minute, week) = (Owner::random(), Duration::from_secs(60), Duration::from_secs(7 * 24 * 60 * 60));
///
/// let claim = store.claim(&key, &ClaimRequest::new(owner, Fingerprint::of(b"{}"), minute, week)).await?;
/// assert_eq!(claim.state, ClaimState::claimed(1));
/// assert_eq!(store.complete(&key, owner, week).await?, Settled::Applied);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClaimRequest {
    /// The caller.
    pub owner: Owner,
    /// The fingerprint of the body, so that one id with two bodies is noticed.
    pub fingerprint: Fingerprint,
    /// How long no other owner may claim the event.
    pub lease: Duration,
    /// How long the record, with its attempt, is kept if nobody settles it.
    pub retention: Duration,
}

impl ClaimRequest {
    /// Creates the arguments of a claim.
    #[must_use]
    pub const fn new(owner: Owner, fingerprint: Fingerprint, lease: Duration, retention: Duration) -> Self {
        Self { owner, fingerprint, lease, retention }
    }
}

/// The result of [`IdempotencyStore::claim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Claim {
    /// Whether the caller holds the claim now.
    pub state: ClaimState,
    /// `false` when the record was created for another body.
    pub fingerprint_matches: bool,
}

impl Claim {
    /// Creates the result of a claim.
    pub const fn new(state: ClaimState, fingerprint_matches: bool) -> Self {
        Self { state, fingerprint_matches }
    }
}

/// The state of an event after a claim.
#[allow(
    clippy::exhaustive_enums,
    reason = "a caller that met a fourth state could neither run the handler nor skip it"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// The caller holds the claim: it runs the handler, then completes or releases the claim.
    #[non_exhaustive]
    Claimed {
        /// 1 for the first claim. Higher when an earlier claim was released or its lease ended.
        attempt: u32,
    },
    /// Another owner holds the claim.
    #[non_exhaustive]
    InFlight {
        /// The rest of that owner's lease.
        remaining: Duration,
    },
    /// The event was handled.
    Done,
}

impl ClaimState {
    /// Creates [`Claimed`](Self::Claimed) with this attempt, counted from 1.
    #[must_use]
    pub const fn claimed(attempt: u32) -> Self {
        Self::Claimed { attempt }
    }

    /// Creates [`InFlight`](Self::InFlight) with the rest of the other owner's lease.
    #[must_use]
    pub const fn in_flight(remaining: Duration) -> Self {
        Self::InFlight { remaining }
    }
}

/// The result of `renew`, `complete` and `release`.
#[allow(clippy::exhaustive_enums, reason = "the owner's write either happened or it did not")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Settled {
    /// The store wrote it.
    Applied,
    /// The caller does not hold the claim. The store wrote nothing.
    Lost,
}
