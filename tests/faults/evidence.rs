//! What the store replied during a scenario: evidence of the fault, and violations that no fault excuses.

use std::collections::HashMap;

use roomz_tests::fleet::{Fleet, Run, Settings};
use roomz_tests::recorder::{Call, Operation, Reply};

/// Something that a scenario must provoke. Without it, the scenario tests nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// A claim whose previous attempt nobody released: its lease had ended.
    Takeover,
    /// A renewal or a completion by an owner that had lost its claim.
    LostSettlement,
    /// A completion later than a lease after the claim, because the lease was renewed.
    RenewedLease,
    /// A completion later than a lease after the last renewal.
    CompletionAfterLease,
    /// A claim that failed.
    FailedClaim,
    /// A call that failed at its timeout.
    TimedOutCall,
    /// A completion that succeeded after it had failed.
    RetriedCompletion,
}

impl Evidence {
    pub(crate) const ALL: [Self; 7] = [
        Self::Takeover,
        Self::LostSettlement,
        Self::RenewedLease,
        Self::CompletionAfterLease,
        Self::FailedClaim,
        Self::TimedOutCall,
        Self::RetriedCompletion,
    ];

    /// Whether this call is the evidence. `all` are the calls for its event.
    fn is_shown_by(self, call: &Call, all: &[Call], settings: Settings) -> bool {
        let lease = settings.lease.as_micros();
        let is = |operation, reply| call.operation == operation && call.reply == reply;
        let earlier = || all.iter().filter(|other| other.owner == call.owner && other.ended <= call.started);
        // Claims and renewals that the store confirmed.
        let lease_starts = || {
            earlier().filter(|other| {
                attempt(other).is_some()
                    || (other.operation == Operation::Renew && other.reply == Reply::Applied)
            })
        };
        let is_lease_after = |start: Option<u128>| start.is_some_and(|start| call.started > start + lease);
        let is_completion = is(Operation::Complete, Reply::Applied);
        match self {
            Self::Takeover => {
                let releases = all.iter().filter(|other| {
                    other.operation == Operation::Release
                        && other.reply != Reply::Lost
                        && other.started < call.ended
                });
                attempt(call).is_some_and(|attempt| attempt as usize > releases.count() + 1)
            }
            Self::LostSettlement => call.operation != Operation::Release && call.reply == Reply::Lost,
            Self::RenewedLease => {
                is_completion
                    && is_lease_after(lease_starts().map(|start| start.ended).min())
                    && !is_lease_after(lease_starts().map(|start| start.ended).max())
            }
            Self::CompletionAfterLease => {
                is_completion && is_lease_after(lease_starts().map(|start| start.ended).max())
            }
            Self::FailedClaim => call.operation == Operation::Claim && call.reply == Reply::Failed,
            Self::TimedOutCall => {
                call.reply == Reply::Failed
                    && call.ended - call.started > settings.store_timeout.as_micros() / 2
            }
            Self::RetriedCompletion => {
                is_completion
                    && earlier()
                        .any(|other| other.operation == Operation::Complete && other.reply == Reply::Failed)
            }
        }
    }
}

/// All calls of the store in a scenario, by event.
pub(crate) struct History {
    calls: HashMap<String, Vec<Call>>,
    settings: Settings,
}

impl History {
    pub(crate) fn of(fleet: &Fleet, settings: Settings) -> Self {
        let mut calls: HashMap<String, Vec<Call>> = HashMap::new();
        for call in fleet.calls() {
            calls.entry(call.id.clone()).or_default().push(call);
        }
        Self { calls, settings }
    }

    pub(crate) fn count(&self, evidence: Evidence) -> usize {
        self.all_where(|call, all| evidence.is_shown_by(call, all, self.settings)).len()
    }

    /// Settlements that were applied although another owner had claimed the event with a higher attempt
    /// number.
    pub(crate) fn settled_after_takeover(&self) -> Vec<&Call> {
        self.all_where(|call, all| {
            let own = all.iter().filter(|other| other.owner == call.owner).filter_map(attempt).max();
            let newest = all.iter().filter(|other| other.ended < call.started).filter_map(attempt).max();
            call.reply == Reply::Applied && own.is_some() && newest > own
        })
    }

    /// Claims that found the event in flight although no other owner had claimed it.
    pub(crate) fn in_flight_for_itself(&self) -> Vec<&Call> {
        self.all_where(|call, all| {
            let is_other = |other: &Call| {
                other.operation == Operation::Claim
                    && other.owner != call.owner
                    && other.started < call.ended
                    && !matches!(other.reply, Reply::InFlight | Reply::Done)
            };
            call.reply == Reply::InFlight && !all.iter().any(is_other)
        })
    }

    /// Whether the process had claimed the event with this attempt number when the handler ran.
    pub(crate) fn has_claim_of(&self, run: &Run) -> bool {
        self.calls.get(&run.id).into_iter().flatten().any(|call| {
            call.reply == Reply::Claimed(run.attempt)
                && call.process == run.process
                && call.ended <= run.started
        })
    }

    fn all_where(&self, is_true: impl Fn(&Call, &[Call]) -> bool) -> Vec<&Call> {
        let events = self.calls.values();
        events.flat_map(|all| all.iter().filter(|call| is_true(call, all))).collect()
    }
}

fn attempt(call: &Call) -> Option<u32> {
    match call.reply {
        Reply::Claimed(attempt) => Some(attempt),
        _ => None,
    }
}
