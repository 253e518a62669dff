//! The outcomes of a batch, from the rows that its statements return.

use std::collections::HashSet;

use roomz_webhook::store::{Claim, ClaimState, Settled};
use sqlx::Error;

use crate::operation::{ClaimOperation, Settlement, id};
use crate::single::state_of;

/// A row of a batch: the key, the state or 0, the attempt or the remaining lease, and the fingerprint.
pub(crate) type BatchRow = (String, Vec<u8>, i64, i64, Vec<u8>);

/// The claims of a batch without an outcome, and the outcomes of the others.
pub(crate) struct OpenClaims<'a> {
    open: Vec<(usize, &'a ClaimOperation)>,
    outcomes: Vec<Option<Claim>>,
}

impl<'a> OpenClaims<'a> {
    pub(crate) fn new(claims: &[&'a ClaimOperation]) -> Self {
        Self { open: claims.iter().copied().enumerate().collect(), outcomes: vec![None; claims.len()] }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a ClaimOperation> {
        self.open.iter().map(|(_, claim)| *claim)
    }

    /// Records the claims that the first statement wrote.
    pub(crate) fn record_claimed(&mut self, rows: Vec<BatchRow>) -> Result<(), Error> {
        for row in rows {
            let attempt = u32::try_from(row.3).unwrap_or(u32::MAX);
            self.record(&row, ClaimState::claimed(attempt))?;
        }
        Ok(())
    }

    /// Records the states that the second statement found. A claim stays open if its row is free now.
    pub(crate) fn record_found(&mut self, rows: Vec<BatchRow>) -> Result<(), Error> {
        for row in rows {
            if let Some(state) = state_of(row.2, row.3)? {
                self.record(&row, state)?;
            }
        }
        Ok(())
    }

    fn record(
        &mut self,
        (namespace, event_id, _, _, fingerprint): &BatchRow,
        state: ClaimState,
    ) -> Result<(), Error> {
        let is_same =
            |claim: &ClaimOperation| id(&claim.key)[..] == event_id[..] && claim.key.namespace() == namespace;
        let Some(position) = self.open.iter().position(|(_, claim)| is_same(claim)) else {
            // The claim would stay open, and its batch would be executed forever.
            return Err(Error::Decode("the database returned a key that the statement does not have".into()));
        };
        // Rows come mostly in the order of the claims. This keeps that order, so that the next row matches the first claim.
        let (index, claim) = self.open.remove(position);
        if let Some(outcome) = self.outcomes.get_mut(index) {
            *outcome = Some(Claim::new(state, *fingerprint == claim.fingerprint.to_bytes()));
        }
        Ok(())
    }

    /// Returns the outcomes in the order of the claims. Call this when no claim is open.
    pub(crate) fn into_outcomes(self) -> Vec<Claim> {
        self.outcomes.into_iter().flatten().collect()
    }
}

/// Returns the outcomes in the order of the settlements. The rows are those that the statement wrote.
pub(crate) fn settled(settlements: &[&Settlement], rows: &[BatchRow]) -> Vec<Settled> {
    let applied: HashSet<_> =
        rows.iter().map(|(namespace, event_id, ..)| (namespace.as_str(), event_id.as_slice())).collect();
    let outcome = |one: &&Settlement| {
        let id = id(&one.key);
        if applied.contains(&(one.key.namespace(), id.as_slice())) { Settled::Applied } else { Settled::Lost }
    };
    settlements.iter().map(outcome).collect()
}
