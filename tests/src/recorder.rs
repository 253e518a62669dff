//! A store that logs every call and its reply, so that a test can tell what a fault did.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, IdempotencyStore, Owner, Settled, StoreError, async_trait,
};
use serde::{Deserialize, Serialize};

use crate::sender::now;

/// An operation of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Claims an event.
    Claim,
    /// Renews a lease.
    Renew,
    /// Completes a claim.
    Complete,
    /// Releases a claim.
    Release,
}

/// The reply of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The owner holds the claim, with this attempt number.
    Claimed(u32),
    /// Another owner holds the claim.
    InFlight,
    /// The event is done.
    Done,
    /// The settlement was written.
    Applied,
    /// The owner does not hold the claim.
    Lost,
    /// The store returned an error, or the caller dropped the call at its timeout. The store may have applied
    /// it.
    Failed,
}

/// One call of a store. Times are in microseconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// The operation.
    pub operation: Operation,
    /// The event's id.
    pub id: String,
    /// The owner in the call.
    pub owner: String,
    /// The reply.
    pub reply: Reply,
    /// When the store was called.
    pub started: u128,
    /// When it replied.
    pub ended: u128,
    /// The id of the process.
    pub process: u32,
}

/// A log of JSON lines. Each line is a single write, so that a kill leaves a whole line or none.
#[derive(Debug)]
pub struct Log(File);

impl Log {
    /// Opens a log that several processes may write.
    pub fn open(path: &Path) -> Self {
        Self(OpenOptions::new().append(true).create(true).open(path).unwrap())
    }

    /// Appends a line.
    pub fn write(&self, line: &impl Serialize) {
        let line = serde_json::to_string(line).unwrap() + "\n";
        assert_eq!((&self.0).write(line.as_bytes()).unwrap(), line.len());
    }

    /// Reads all complete lines. A log that does not exist has none.
    pub fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Vec<T> {
        let log = std::fs::read_to_string(path).unwrap_or_default();
        // A receiver may be writing the last line.
        let complete = log.rsplit_once('\n').map_or("", |(lines, _)| lines);
        complete
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("incomplete line: {line:?}")))
            .collect()
    }
}

/// A store that logs every call and its reply.
pub struct Recorder {
    store: Arc<dyn IdempotencyStore>,
    log: Log,
}

impl Recorder {
    /// Logs the calls of this store.
    pub fn new(store: Arc<dyn IdempotencyStore>, log: Log) -> Self {
        Self { store, log }
    }

    async fn record<T: Copy>(
        &self,
        (operation, key, owner): (Operation, &ClaimKey, Owner),
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError>
    where
        Reply: From<T>,
    {
        let started = now();
        let call_to_log = Call {
            operation,
            id: key.id().to_string(),
            owner: format!("{:032x}", u128::from_be_bytes(owner.to_bytes())),
            reply: Reply::Failed,
            started,
            ended: started,
            process: std::process::id(),
        };
        let mut recorded = LogOnDrop { call: call_to_log, log: &self.log };
        let result = call.await;
        recorded.call.reply = result.as_ref().map_or(Reply::Failed, |reply| Reply::from(*reply));
        result
    }
}

/// The caller drops a call at its timeout, which must be logged too.
struct LogOnDrop<'a> {
    call: Call,
    log: &'a Log,
}

impl Drop for LogOnDrop<'_> {
    fn drop(&mut self) {
        self.call.ended = now();
        self.log.write(&self.call);
    }
}

impl From<Claim> for Reply {
    fn from(claim: Claim) -> Self {
        match claim.state {
            ClaimState::Claimed { attempt, .. } => Self::Claimed(attempt),
            ClaimState::InFlight { .. } => Self::InFlight,
            ClaimState::Done => Self::Done,
        }
    }
}

impl From<Settled> for Reply {
    fn from(settled: Settled) -> Self {
        match settled {
            Settled::Applied => Self::Applied,
            Settled::Lost => Self::Lost,
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

#[async_trait]
impl IdempotencyStore for Recorder {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        self.record((Operation::Claim, key, claim.owner), self.store.claim(key, claim)).await
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.record((Operation::Renew, key, owner), self.store.renew(key, owner, lease)).await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        self.record((Operation::Complete, key, owner), self.store.complete(key, owner, retention)).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.record((Operation::Release, key, owner), self.store.release(key, owner)).await
    }
}
