use std::time::Duration;

use bytes::Bytes;
use roomz_sql::db::value::Row;
use roomz_webhook::Timestamp;
use roomz_webhook::store::ClaimKey;
use sqlx::Error;

use crate::queue::row::{attempts, key, text, time};

/// The state of an event in the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the state machine of the documentation")]
pub enum InboxState {
    /// Its next attempt is due now or later.
    Waiting,
    /// A worker has taken it.
    Running,
    /// It was handled, or it was a dead letter and was discarded.
    Done,
    /// It is a dead letter: no attempt follows until it is retried.
    Dead,
}

/// An event in the inbox. `Debug` prints the length of the body only.
#[derive(Clone, derive_more::Debug)]
#[non_exhaustive]
pub struct InboxEntry {
    /// The namespace and the id.
    pub key: ClaimKey,
    /// The state.
    pub state: InboxState,
    /// When the event arrived.
    pub received: Timestamp,
    /// Waiting: when the next attempt is due. Running: when the lease ends. Done or dead: when the entry is
    /// deleted.
    pub due: Timestamp,
    /// The number of attempts.
    pub attempts: u32,
    /// Why the last failed attempt failed. At most 1 000 characters; control characters are escaped.
    pub error: Option<String>,
    /// The signed bytes.
    #[debug("[{} bytes]", body.len())]
    pub body: Bytes,
}

/// How many events are not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InboxStats {
    /// Events whose next attempt is due now or later.
    pub waiting: u64,
    /// Events that a worker runs.
    pub running: u64,
    /// Dead letters.
    pub dead: u64,
    /// The age of the oldest event that waits or runs. Zero if there is none.
    pub oldest: Duration,
}

impl InboxState {
    /// Returns the value of the column `state`.
    pub(crate) const fn number(self) -> i64 {
        self as i64
    }

    fn from_number(number: i64) -> Result<Self, Error> {
        [Self::Waiting, Self::Running, Self::Done, Self::Dead]
            .into_iter()
            .find(|state| state.number() == number)
            .ok_or_else(|| Error::Decode("unknown state in `roomz_inbox`; update this program".into()))
    }
}

impl InboxEntry {
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            key: key(row)?,
            state: InboxState::from_number(row.number(2)?)?,
            received: time(row.number(3)?),
            due: time(row.number(4)?),
            attempts: attempts(row.number(5)?),
            error: text(row, 6)?,
            body: Bytes::copy_from_slice(row.bytes(7)?),
        })
    }
}

impl InboxStats {
    /// Reads the columns from `first`. `dead` stays 0.
    pub(crate) fn from_row(row: &Row, first: usize) -> Result<Self, Error> {
        let count =
            |column| row.number(first + column).map(|number| u64::try_from(number).unwrap_or_default());
        Ok(Self { waiting: count(0)?, running: count(1)?, dead: 0, oldest: Duration::from_millis(count(2)?) })
    }
}
