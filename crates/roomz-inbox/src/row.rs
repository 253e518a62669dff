//! Rows of the table, and the conversions of their columns.

use std::time::Duration;

use roomz_webhook::Timestamp;
use roomz_webhook::roomz_protocol::Uuid;
use roomz_webhook::store::ClaimKey;
use sqlx::Error;

/// Namespace, id, attempt, earlier attempts, time of arrival, age in milliseconds, body, error of the last attempt.
pub(crate) type TakenRow = (String, Vec<u8>, i64, i64, i64, i64, Vec<u8>, Option<String>);

/// Namespace, id, state, time of arrival, `due`, attempts, error of the last attempt, body.
pub(crate) type EntryRow = (String, Vec<u8>, i64, i64, i64, i64, Option<String>, Vec<u8>);

/// The column `event_id` of a key.
pub(crate) fn id(key: &ClaimKey) -> Vec<u8> {
    key.id().as_uuid().as_bytes().to_vec()
}

pub(crate) fn key(namespace: &str, id: &[u8]) -> Result<ClaimKey, Error> {
    let id = Uuid::from_slice(id).map_err(|error| Error::Decode(error.into()))?;
    Ok(ClaimKey::new(namespace.into(), id.into()))
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).clamp(0, 1 << 50)
}

/// The time of a column. An unlimited retention ends later than the last time of [`Timestamp`].
pub(crate) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}
