//! The parameters of the statements, and what their rows mean.

use std::time::Duration;

use roomz_webhook::store::{Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, Owner};
use sqlx::Error;

use crate::claims::statements::{CLAIMED, DONE, FREE, RUNNING};
use crate::db::value::{Row, Value};

/// A claim sets an expiry that is later by this part of the retention, 10 min of 7 days. A completion within
/// this time keeps it: the column is in an index, and PostgreSQL writes no index entries for a row whose
/// indexed columns stay the same.
const SLACK: u32 = 1000;

/// The parameters of a claim.
pub(crate) fn claim(key: &ClaimKey, request: &ClaimRequest) -> [Value; 6] {
    let retention = request.retention.saturating_add(request.retention / SLACK);
    let [namespace, id] = Value::key(key);
    [
        namespace,
        id,
        Value::from(&request.owner.to_bytes()),
        Value::from(&request.fingerprint.to_bytes()),
        Value::Number(millis(request.lease)),
        Value::Number(millis(request.lease.max(retention))),
    ]
}

/// The parameters of a renewal, a completion or a release.
pub(crate) fn settlement(key: &ClaimKey, owner: Owner, operation: i64, duration: Duration) -> [Value; 5] {
    let [namespace, id] = Value::key(key);
    [namespace, id, Value::from(&owner.to_bytes()), Value::Number(operation), Value::Number(millis(duration))]
}

/// Returns the outcome of a claim, or `None` if the row is free now.
pub(crate) fn outcome(row: &Row, fingerprint: Fingerprint) -> Result<Option<Claim>, Error> {
    let state = match (row.number(2)?, row.number(3)?) {
        (CLAIMED, attempt) => ClaimState::claimed(u32::try_from(attempt).unwrap_or(u32::MAX)),
        (DONE, _) => ClaimState::Done,
        (RUNNING, remaining @ 1..) => ClaimState::in_flight(Duration::from_millis(remaining.unsigned_abs())),
        (FREE | RUNNING, _) => return Ok(None),
        // Another claim would find the same state, so the loop would never end.
        _ => return Err(Error::Decode(
            "unknown claim state in `roomz_claims`; a newer version of roomz-sql wrote it: update this instance".into(),
        )),
    };
    Ok(Some(Claim::new(state, row.bytes(4)? == fingerprint.to_bytes())))
}

/// At least 1, because a row that expires in 0 ms has expired.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).clamp(1, 1 << 50)
}
