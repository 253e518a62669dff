use std::fmt;
use std::time::Duration;

use roomz_webhook::store::{Claim, ClaimKey, ClaimRequest, Fingerprint, Owner, Settled};

/// An operation that a worker executes, alone or in a batch with others of its type.
pub(crate) trait Operation: fmt::Debug + Send + Sync + 'static {
    type Outcome: fmt::Debug + Send + 'static;

    /// The key of the record. One statement cannot write a record twice, so a batch has each key once.
    fn key(&self) -> Option<&ClaimKey>;

    /// Whether the operation may run again if its connection broke before the result arrived. The database may have
    /// executed it.
    fn is_retry_safe(&self) -> bool;
}

/// The arguments of `claim`.
#[derive(Clone, Debug)]
pub(crate) struct ClaimOperation {
    pub(crate) key: ClaimKey,
    pub(crate) owner: Owner,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) lease_ms: i64,
    /// The retention and a thousandth of it: see [`SLACK`].
    pub(crate) retention_ms: i64,
}

/// A claim sets an expiry that is later by this part of the retention, 10 min of 7 days. A completion within this time keeps it:
/// the column is in an index, and PostgreSQL writes no index entries for a row whose indexed columns stay the same.
const SLACK: u32 = 1000;

impl ClaimOperation {
    pub(crate) fn new(key: &ClaimKey, request: &ClaimRequest) -> Self {
        Self {
            key: key.clone(),
            owner: request.owner,
            fingerprint: request.fingerprint,
            lease_ms: millis(request.lease),
            retention_ms: millis(
                request.lease.max(request.retention.saturating_add(request.retention / SLACK)),
            ),
        }
    }
}

impl Operation for ClaimOperation {
    type Outcome = Claim;

    fn key(&self) -> Option<&ClaimKey> {
        Some(&self.key)
    }

    fn is_retry_safe(&self) -> bool {
        true
    }
}

/// The kind of a [`Settlement`]. The discriminants are the values of the parameter `operation` in SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettlementKind {
    Renew = 0,
    Complete = 1,
    Release = 2,
}

/// The arguments of `renew`, `complete` or `release`.
#[derive(Clone, Debug)]
pub(crate) struct Settlement {
    pub(crate) key: ClaimKey,
    pub(crate) owner: Owner,
    pub(crate) kind: SettlementKind,
    /// The lease or the retention. Not used by `release`.
    pub(crate) duration_ms: i64,
}

impl Settlement {
    pub(crate) fn new(key: &ClaimKey, owner: Owner, kind: SettlementKind, duration: Duration) -> Self {
        Self { key: key.clone(), owner, kind, duration_ms: millis(duration) }
    }
}

impl Operation for Settlement {
    type Outcome = Settled;

    fn key(&self) -> Option<&ClaimKey> {
        Some(&self.key)
    }

    /// A second release would report `Lost`, because nobody holds a released claim.
    fn is_retry_safe(&self) -> bool {
        self.kind != SettlementKind::Release
    }
}

/// Deletes one batch of expired rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purge;

/// What a [`Purge`] did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purged {
    pub(crate) rows: u64,
    pub(crate) duration: Duration,
}

impl Operation for Purge {
    type Outcome = Purged;

    fn key(&self) -> Option<&ClaimKey> {
        None
    }

    fn is_retry_safe(&self) -> bool {
        true
    }
}

/// At least 1, because a row that expires in 0 ms has expired.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).clamp(1, 1 << 50)
}

/// The bytes of an event id, as the column `event_id` holds them.
pub(crate) fn id(key: &ClaimKey) -> [u8; 16] {
    *key.id().as_uuid().as_bytes()
}
