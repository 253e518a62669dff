use std::time::Duration;

use roomz_sql::db::value::Value;
use roomz_webhook::store::{ClaimKey, Owner};

use crate::queue::row::millis;
use crate::queue::statements::{DEAD, DONE, RUNNING, WAITING};

/// What the owner of a running event does with it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OwnerUpdate<'a> {
    Renew {
        lease: Duration,
    },
    Complete {
        retention: Duration,
    },
    RetryAfter {
        pause: Duration,
        error: &'a str,
    },
    Dead {
        retention: Duration,
        error: &'a str,
    },
    /// Makes the event available again at once.
    GiveBack,
}

impl OwnerUpdate<'_> {
    pub(super) fn values(self, key: &ClaimKey, owner: Owner, attempts: u32) -> Vec<Value> {
        let (state, delay, error) = match self {
            // Events that ran together do not run together again when their leases end.
            Self::Renew { lease } => (RUNNING, lease.mul_f64(rand::random_range(1.0..=1.5)), None),
            Self::Complete { retention } => (DONE, retention, None),
            Self::RetryAfter { pause, error } => (WAITING, pause, Some(error)),
            Self::Dead { retention, error } => (DEAD, retention, Some(error)),
            Self::GiveBack => (WAITING, Duration::ZERO, None),
        };
        let [namespace, id] = Value::key(key);
        vec![
            namespace,
            id,
            Value::from(&owner.to_bytes()),
            state.into(),
            millis(delay).into(),
            i64::from(attempts).into(),
            error.map_or(Value::Null, Value::from),
        ]
    }
}
