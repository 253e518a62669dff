//! Who may run an event's handler: the store trait and what its operations say.

mod error;
mod key;
mod moka;

use std::sync::Arc;
use std::time::Duration;

pub use self::error::{StoreError, StoreErrorKind};
pub use self::key::{ClaimKey, Fingerprint, Owner};
pub use self::moka::{MokaStore, MokaStoreBuilder};
/// The macro that [`IdempotencyStore`] is implemented with.
pub use async_trait::async_trait;

/// Remembers which events are being handled and which have been, for one process or for many.
///
/// A store keeps one record per [`ClaimKey`]: its state, the [`Owner`] that runs it, the body's [`Fingerprint`], how
/// often it was claimed (the attempt), the end of the lease, and the end of the record. Time is the store's own.
///
/// ```text
///  absent, expired ── claim ──▶ RUNNING(owner, attempt 1)      Claimed(1)
///  RUNNING, lease live ── claim ──▶ unchanged                  InFlight
///  RUNNING, lease over ── claim ──▶ RUNNING(owner, attempt + 1) Claimed(attempt + 1), for exactly one caller
///  RUNNING ── renew by its owner ──▶ lease moved               Applied
///  RUNNING ── complete by its owner ──▶ DONE, kept             Applied (also after the lease, if nobody took over)
///  RUNNING ── release by its owner ──▶ free, attempt kept      Applied
///  free ── claim ──▶ RUNNING(owner, attempt + 1)               Claimed(attempt + 1)
///  DONE ── claim ──▶ unchanged                                 Done
///  renew, complete, release by anyone else ──▶ unchanged       Lost
/// ```
///
/// Each operation is **atomic**: there is no moment at which two callers have both been told `Claimed`. There is no
/// get and no unconditional set or delete, because a caller could not use them safely, and no operation has a default
/// implementation, because none is right for two stores.
///
/// # What else must hold
///
/// - A claim repeated by the same owner (its reply got lost) is `Claimed` again with the same attempt and a fresh
///   lease. A completion repeated by the same owner is `Applied` again.
/// - The record keeps the fingerprint of the body that created it. A claim with another one is answered as ever, and
///   marked (see [`Claim::fingerprint_matches`]).
/// - A record lives for the retention named by the last claim or completion; a running one at least to the end of its
///   lease. A full store may forget finished and free records, oldest first, never a live claim. Removing what has
///   expired is the store's own business.
/// - Durations are kept to the millisecond, or finer.
/// - The futures may be dropped at any point: the caller's time-out does that. The operation has then happened or
///   not, never by half.
/// - A store that cannot say answers [`StoreError`]; the caller then does not run the handler.
///
/// A store around another, here one that counts, passes each operation on:
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
/// use roomz_webhook::store::{Claim, ClaimKey, ClaimRequest, IdempotencyStore, Owner, Settled, StoreError, async_trait};
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
///     async fn complete(&self, key: &ClaimKey, owner: Owner, kept: Duration) -> Result<Settled, StoreError> {
///         self.inner.complete(key, owner, kept).await
///     }
///
///     async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
///         self.inner.release(key, owner).await
///     }
/// }
/// ```
///
/// The feature `testing` has a suite for this, `store_contract!`; give it a second handle on the same data
/// (`Subject::with_peer`), because two instances are where stores differ. What it cannot check is what a *full* store
/// does. The example `custom-store` is a store of one's own with it.
#[async_trait]
pub trait IdempotencyStore: Send + Sync + 'static {
    /// Claims the event for `claim.owner`, if nobody has it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot say. The claim may have happened all the same.
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError>;

    /// Moves the end of the lease to `lease` from now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot say.
    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError>;

    /// Marks the event as handled, for `retention` from now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot say.
    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError>;

    /// Gives the event back: the next claim may have it at once. The attempt is kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot say.
    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError>;
}

/// A shared store is a store.
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

/// What a claim asks for.
///
/// ```
/// use std::time::Duration;
/// use roomz_webhook::EventId;
/// use roomz_webhook::store::{ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, MokaStore, Owner, Settled};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store: &dyn IdempotencyStore = &MokaStore::new();
/// let id: EventId = "e6ae112e-2af3-4d72-894b-03435d7afde4".parse()?;
/// let key = ClaimKey::new("roomz".into(), id);
/// let (owner, minute, week) = (Owner::random(), Duration::from_secs(60), Duration::from_secs(7 * 24 * 60 * 60));
///
/// let claim = store.claim(&key, &ClaimRequest::new(owner, Fingerprint::of(b"{}"), minute, week)).await?;
/// assert_eq!(claim.state, ClaimState::Claimed { attempt: 1 });
/// assert_eq!(store.complete(&key, owner, week).await?, Settled::Applied);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClaimRequest {
    /// Who asks.
    pub owner: Owner,
    /// The body's fingerprint, so that one id with two bodies is noticed.
    pub fingerprint: Fingerprint,
    /// For how long nobody else may claim.
    pub lease: Duration,
    /// For how long the record, and with it the attempt, is kept if nobody settles it.
    pub retention: Duration,
}

impl ClaimRequest {
    /// A claim.
    #[must_use]
    pub const fn new(owner: Owner, fingerprint: Fingerprint, lease: Duration, retention: Duration) -> Self {
        Self { owner, fingerprint, lease, retention }
    }
}

/// The answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Claim {
    /// Whether the caller has it now.
    pub state: ClaimState,
    /// `false` when the record was created for another body.
    pub fingerprint_matches: bool,
}

impl Claim {
    /// An answer.
    pub const fn new(state: ClaimState, fingerprint_matches: bool) -> Self {
        Self { state, fingerprint_matches }
    }
}

/// The state of an event, as told to one who claims it.
// Exhaustive: a caller that met a fourth state could neither run the handler nor skip it.
#[allow(clippy::exhaustive_enums)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// The caller has it: run the handler, then complete or release.
    #[non_exhaustive]
    Claimed {
        /// 1 for the first claim; more when an earlier one was given back or died.
        attempt: u32,
    },
    /// Somebody else has it.
    #[non_exhaustive]
    InFlight {
        /// How long their lease still lasts.
        remaining: Duration,
    },
    /// It has been handled.
    Done,
}

impl ClaimState {
    /// [`Claimed`](Self::Claimed) with this attempt, counted from 1.
    #[must_use]
    pub const fn claimed(attempt: u32) -> Self {
        Self::Claimed { attempt }
    }

    /// [`InFlight`](Self::InFlight) with the rest of the owner's lease.
    #[must_use]
    pub const fn in_flight(remaining: Duration) -> Self {
        Self::InFlight { remaining }
    }
}

/// The answer to `renew`, `complete` and `release`.
// Exhaustive: the owner's write either happened or it did not.
#[allow(clippy::exhaustive_enums)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Settled {
    /// Written.
    Applied,
    /// The caller does not hold the claim; nothing was written.
    Lost,
}
