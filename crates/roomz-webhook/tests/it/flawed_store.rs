//! The contract for stores finds each flaw of a store that is otherwise right.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use roomz_webhook::Clock as _;
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, Owner, Settled, StoreError,
    async_trait,
};
use roomz_webhook::testing::{ManualClock, StoreUnderTest, contract};

macro_rules! flaws {
    ($($flaw:ident)*) => {
        /// What is wrong with a store.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Flaw {
            Nothing,
            $($flaw,)*
        }

        const FLAWS: [Flaw; 40] = [$(Flaw::$flaw),*];
    };
}

flaws! {
    ClaimIgnoresLease ClaimIgnoresDone DuplicateExtendsLease DuplicateExtendsRetention
    DuplicateTakesFingerprint RepeatedClaimCounts RepeatedClaimIsInFlight RepeatedClaimKeepsLease
    TakeoverDoesNotCount TakeoverTakesFingerprint TakeoverKeepsOldOwner ReportsWholeLease
    ReportsNoFingerprint AnyoneRenews AnyoneCompletes AnyoneReleases AnyoneCompletesAgain
    RenewsDone ReleasesDone RenewalForgetsAttempt RenewalChangesNothing RenewalCannotShorten
    RenewalNeedsLiveLease RenewedClaimExpires CompletionNeedsLiveLease CompletionKeepsOldRetention
    CompletionOnlyOnce ReleaseForgetsAttempt ReleaseKeepsOwner ReleaseForgetsRetention
    ReleaseNeedsLiveLease LiveClaimExpires NothingExpires DoneNeverExpires ExpiredIsSettled
    ExpiredKeepsFingerprint ExpiredKeepsAttempt SettlesUnclaimed IgnoresNamespace IgnoresIdBits
}

#[derive(Clone, Copy)]
struct Record {
    owner: Option<Owner>,
    fingerprint: Fingerprint,
    attempt: u32,
    is_done: bool,
    lease: Duration,
    lease_end: Duration,
    expiry: Duration,
}

struct Flawed {
    flaw: Flaw,
    clock: ManualClock,
    records: Mutex<HashMap<(String, u128), Record>>,
}

enum Update {
    Renew(Duration),
    Complete(Duration),
    Release,
}

impl Flawed {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn key(&self, key: &ClaimKey) -> (String, u128) {
        let namespace = if self.has(Flaw::IgnoresNamespace) { "" } else { key.namespace() };
        let id = key.id().as_uuid().as_u128();
        (namespace.to_owned(), if self.has(Flaw::IgnoresIdBits) { id >> 1 } else { id })
    }

    fn is_expired(&self, record: &Record, now: Duration) -> bool {
        let is_over = record.expiry <= now && (record.lease_end <= now || self.has(Flaw::LiveClaimExpires));
        is_over && !self.has(Flaw::NothingExpires) && !(record.is_done && self.has(Flaw::DoneNeverExpires))
    }

    fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Claim {
        let (now, mut records) = (self.clock.monotonic(), self.records.lock().unwrap());
        let mut new = Record {
            owner: Some(claim.owner),
            fingerprint: claim.fingerprint,
            attempt: 1,
            is_done: false,
            lease: claim.lease,
            lease_end: now + claim.lease,
            expiry: now + claim.retention,
        };
        let mut matches = true;
        if let Some(known) = records.get_mut(&self.key(key)) {
            if self.is_expired(known, now) {
                if self.has(Flaw::ExpiredKeepsAttempt) {
                    new.attempt = known.attempt + 1;
                }
                if self.has(Flaw::ExpiredKeepsFingerprint) {
                    new.fingerprint = known.fingerprint;
                    matches = known.fingerprint == claim.fingerprint;
                }
            } else {
                matches = known.fingerprint == claim.fingerprint || self.has(Flaw::ReportsNoFingerprint);
                if known.is_done && !self.has(Flaw::ClaimIgnoresDone) {
                    if self.has(Flaw::DuplicateExtendsRetention) {
                        known.expiry = known.expiry.max(now + claim.retention);
                    }
                    return Claim::new(ClaimState::Done, matches);
                }
                let repeated = known.owner == Some(claim.owner) && !self.has(Flaw::RepeatedClaimIsInFlight);
                if !repeated {
                    if known.lease_end > now && !self.has(Flaw::ClaimIgnoresLease) {
                        if self.has(Flaw::DuplicateExtendsLease) {
                            known.lease_end = now + known.lease;
                        }
                        if self.has(Flaw::DuplicateTakesFingerprint) {
                            known.fingerprint = claim.fingerprint;
                        }
                        let remaining = if self.has(Flaw::ReportsWholeLease) {
                            known.lease
                        } else {
                            known.lease_end - now
                        };
                        return Claim::new(ClaimState::in_flight(remaining), matches);
                    }
                    new.attempt = known.attempt + u32::from(!self.has(Flaw::TakeoverDoesNotCount));
                    if self.has(Flaw::TakeoverKeepsOldOwner) {
                        new.owner = known.owner.or(new.owner);
                    }
                } else {
                    new.attempt = known.attempt + u32::from(self.has(Flaw::RepeatedClaimCounts));
                    if self.has(Flaw::RepeatedClaimKeepsLease) {
                        new.lease_end = known.lease_end;
                    }
                }
                if !self.has(Flaw::TakeoverTakesFingerprint) {
                    new.fingerprint = known.fingerprint;
                }
            }
        }
        records.insert(self.key(key), new);
        Claim::new(ClaimState::claimed(new.attempt), matches)
    }

    fn update(&self, key: &ClaimKey, owner: Owner, update: &Update) -> Settled {
        let (now, mut records) = (self.clock.monotonic(), self.records.lock().unwrap());
        let Some(record) = records.get_mut(&self.key(key)) else {
            return if self.has(Flaw::SettlesUnclaimed) { Settled::Applied } else { Settled::Lost };
        };
        if self.is_expired(record, now) && !self.has(Flaw::ExpiredIsSettled) {
            return Settled::Lost;
        }
        let (anyone, needs_live_lease) = match update {
            Update::Renew(_) => (Flaw::AnyoneRenews, Flaw::RenewalNeedsLiveLease),
            Update::Complete(_) => (Flaw::AnyoneCompletes, Flaw::CompletionNeedsLiveLease),
            Update::Release => (Flaw::AnyoneReleases, Flaw::ReleaseNeedsLiveLease),
        };
        if record.is_done {
            let is_owner = record.owner == Some(owner);
            let is_applied = match update {
                Update::Renew(_) => is_owner && self.has(Flaw::RenewsDone),
                Update::Complete(_) => {
                    is_owner && !self.has(Flaw::CompletionOnlyOnce) || self.has(Flaw::AnyoneCompletesAgain)
                }
                Update::Release => is_owner && self.has(Flaw::ReleasesDone),
            };
            return if is_applied { Settled::Applied } else { Settled::Lost };
        }
        let is_owner = record.owner == Some(owner) || self.has(anyone);
        if !is_owner || self.has(needs_live_lease) && record.lease_end <= now {
            return Settled::Lost;
        }
        match update {
            Update::Renew(_) if self.has(Flaw::RenewalChangesNothing) => {}
            Update::Renew(lease) => {
                let is_shorter = now + *lease < record.lease_end;
                if !(is_shorter && self.has(Flaw::RenewalCannotShorten)) {
                    record.lease_end = now + *lease;
                }
                if self.has(Flaw::RenewedClaimExpires) && record.expiry < record.lease_end {
                    record.lease_end = record.expiry;
                }
                if self.has(Flaw::RenewalForgetsAttempt) {
                    record.attempt = 1;
                }
            }
            Update::Complete(retention) => {
                record.is_done = true;
                record.lease_end = now;
                if !self.has(Flaw::CompletionKeepsOldRetention) {
                    record.expiry = now + *retention;
                }
            }
            Update::Release => {
                record.lease_end = now;
                if !self.has(Flaw::ReleaseKeepsOwner) {
                    record.owner = None;
                }
                if self.has(Flaw::ReleaseForgetsAttempt) {
                    record.attempt = 0;
                }
                if self.has(Flaw::ReleaseForgetsRetention) {
                    record.expiry = now + Duration::from_secs(90);
                }
            }
        }
        Settled::Applied
    }
}

#[async_trait]
impl IdempotencyStore for Flawed {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        Ok(self.claim(key, claim))
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        Ok(self.update(key, owner, &Update::Renew(lease)))
    }

    async fn complete(&self, key: &ClaimKey, owner: Owner, kept: Duration) -> Result<Settled, StoreError> {
        Ok(self.update(key, owner, &Update::Complete(kept)))
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        Ok(self.update(key, owner, &Update::Release))
    }
}

/// Runs the requirements and returns those that the store does not meet.
macro_rules! failures {
    ($flaw:expr; $($test:ident)*) => {{
        let mut failures = Vec::new();
        $(
            let clock = ManualClock::new();
            let store = Flawed { flaw: $flaw, clock: clock.clone(), records: Mutex::default() };
            let store = StoreUnderTest::new(Arc::new(store)).with_rounds(1);
            let store = store.with_advance(move |by| clock.advance(by));
            if AssertUnwindSafe(contract::$test(&store)).catch_unwind().await.is_err() {
                failures.push(stringify!($test));
            }
        )*
        failures
    }};
}

async fn failures(flaw: Flaw) -> Vec<&'static str> {
    failures! { flaw;
        shares_claims_between_instances in_flight_reports_remaining_lease completed_event_stays_done
        stale_owner_loses attempts_are_counted owner_settles_after_lease_without_takeover only_owner_settles
        repeated_claim_keeps_attempt live_claim_outlives_retention retention_starts_at_completion
        unfinished_event_expires_after_retention expired_event_is_new_again
        reports_fingerprint_mismatch_in_every_state namespaces_are_separate compares_every_bit_of_id
    }
}

#[tokio::test]
async fn contract_finds_each_flaw() {
    assert_eq!(failures(Flaw::Nothing).await, [""; 0]);
    for flaw in FLAWS {
        assert!(!failures(flaw).await.is_empty(), "{flaw:?} is not found");
    }
}
