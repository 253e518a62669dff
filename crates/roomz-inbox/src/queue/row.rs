//! Rows of the table, and the conversions of their columns.

use std::time::Duration;

use bytes::Bytes;
use roomz_sql::db::value::Row;
use roomz_webhook::Timestamp;
use roomz_webhook::roomz_protocol::Uuid;
use roomz_webhook::store::ClaimKey;
use sqlx::Error;

/// An event that a worker has taken.
#[derive(Clone, Debug)]
pub(crate) struct TakenEvent {
    pub(crate) key: ClaimKey,
    /// Attempts with this one.
    pub(crate) attempt: u32,
    /// Attempts that do not count towards the maximum, because a dead letter was retried.
    pub(crate) uncounted_attempts: u32,
    pub(crate) received: Timestamp,
    pub(crate) age: Duration,
    pub(crate) body: Bytes,
    pub(crate) last_error: Option<String>,
    pub(crate) traceparent: Option<String>,
}

impl TryFrom<Row> for TakenEvent {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            key: key(&row)?,
            attempt: attempts(row.number(2)?),
            uncounted_attempts: attempts(row.number(3)?),
            received: time(row.number(4)?),
            age: duration(row.number(5)?),
            body: Bytes::copy_from_slice(row.bytes(6)?),
            last_error: text(&row, 7)?,
            traceparent: text(&row, 8)?,
        })
    }
}

/// Returns the key in the first two columns.
pub(crate) fn key(row: &Row) -> Result<ClaimKey, Error> {
    let id = Uuid::from_slice(row.bytes(1)?).map_err(|error| Error::Decode(error.into()))?;
    Ok(ClaimKey::new(row.text(0)?.into(), id.into()))
}

/// Names the event of a row that may be unreadable.
pub(crate) fn name(row: &Row) -> String {
    let id =
        row.bytes(1).unwrap_or_default().iter().fold(String::new(), |id, byte| format!("{id}{byte:02x}"));
    format!("event {id} in the namespace {:?}", row.text(0).unwrap_or("?"))
}

pub(crate) fn text(row: &Row, column: usize) -> Result<Option<String>, Error> {
    if row.is_null(column) { Ok(None) } else { row.text(column).map(|text| Some(text.to_owned())) }
}

pub(crate) fn attempts(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

pub(crate) fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).clamp(0, 1 << 50)
}

/// The time of a column. An unlimited retention ends later than the last time of [`Timestamp`].
pub(crate) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}
