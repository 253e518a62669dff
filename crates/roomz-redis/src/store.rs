use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, RedisError, Script};
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, Owner, Settled, StoreError,
    async_trait,
};

use crate::backend::Backend;
use crate::connection::{Call, Retry};
use crate::record::first_claim;

/// A store that keeps claims in Redis or Valkey.
///
/// Create one with [`connect`](Self::connect), or with [`builder`](Self::builder) to change settings. A clone shares the
/// connection.
#[derive(Clone)]
pub struct RedisStore {
    backend: Arc<Backend>,
    prefix: Arc<str>,
    scripts: Arc<Scripts>,
}

struct Scripts {
    claim: Script,
    settle: Script,
}

/// An operation of `settle.lua`.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Renew,
    Complete,
    Release,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Renew => "renew",
            Self::Complete => "complete",
            Self::Release => "release",
        }
    }

    /// A second release would report `Lost`, because nobody holds a released claim.
    const fn retry(self) -> Retry {
        match self {
            Self::Renew | Self::Complete => Retry::Safe,
            Self::Release => Retry::Never,
        }
    }
}

impl RedisStore {
    pub(crate) fn new(backend: Backend, prefix: String) -> Self {
        let scripts = Scripts {
            claim: Script::new(include_str!("claim.lua")),
            settle: Script::new(include_str!("settle.lua")),
        };
        Self { backend: Arc::new(backend), prefix: prefix.into(), scripts: Arc::new(scripts) }
    }

    /// Executes each command of the store on each master, to find out whether it permits them. The keys expire after a
    /// second at most.
    pub(crate) async fn self_test(&self) -> Result<(), RedisError> {
        let new_key =
            || format!("{}:self-test:{:032x}", self.prefix, u128::from_be_bytes(Owner::random().to_bytes()));
        let (owner, fingerprint) = (Owner::random(), Fingerprint::from_bytes([0; 16]));
        let one_second = Duration::from_secs(1);
        for key in self.backend.one_key_per_master(new_key) {
            self.run_settle(&key, Operation::Release, owner, one_second).await?;
            self.run_claim(&key, &ClaimRequest::new(owner, fingerprint, one_second, one_second)).await?;
            self.run_claim(&key, &ClaimRequest::new(Owner::random(), fingerprint, one_second, one_second))
                .await?;
            self.run_settle(&key, Operation::Complete, owner, Duration::from_millis(1)).await?;
        }
        Ok(())
    }

    /// The id comes last and has a fixed length, so that two pairs of namespace and id never share a key.
    fn key(&self, key: &ClaimKey) -> String {
        format!("{}:{}:{}", self.prefix, key.namespace(), key.id())
    }

    async fn run_claim(&self, key: &str, claim: &ClaimRequest) -> Result<(u8, u64, u8), RedisError> {
        let lease = millis(claim.lease);
        let kept = millis(claim.retention).max(lease);
        let (owner, fingerprint) = (claim.owner.to_bytes(), claim.fingerprint.to_bytes());
        let mut command = redis::cmd("SET");
        command.arg(key).arg(first_claim(owner, fingerprint, kept - lease)).arg("NX").arg("PX").arg(kept);
        match self.backend.invoke(key, &Call { script: None, command, retry: Retry::Safe }).await {
            Ok(true) => return Ok((0, 1, 1)),
            Ok(false) => {}
            // A server that refuses writes still knows whether the event is done.
            Err(error) if is_refused_write(&error) => {}
            Err(error) => return Err(error),
        }
        let script = &self.scripts.claim;
        let mut command = evalsha(script, key);
        command.arg(&owner).arg(&fingerprint).arg(lease).arg(kept);
        self.backend.invoke(key, &Call { script: Some(script), command, retry: Retry::Safe }).await
    }

    async fn run_settle(
        &self,
        key: &str,
        operation: Operation,
        owner: Owner,
        duration: Duration,
    ) -> Result<u8, RedisError> {
        let script = &self.scripts.settle;
        let mut command = evalsha(script, key);
        command.arg(operation.name()).arg(&owner.to_bytes()).arg(millis(duration));
        self.backend.invoke(key, &Call { script: Some(script), command, retry: operation.retry() }).await
    }

    async fn settle(
        &self,
        key: &ClaimKey,
        operation: Operation,
        owner: Owner,
        duration: Duration,
    ) -> Result<Settled, StoreError> {
        match self.run_settle(&self.key(key), operation, owner, duration).await {
            Ok(0) => Ok(Settled::Lost),
            Ok(_) => Ok(Settled::Applied),
            Err(error) => Err(store_error(error)),
        }
    }
}

fn evalsha(script: &Script, key: &str) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(script.get_hash()).arg(1).arg(key);
    command
}

fn store_error(error: RedisError) -> StoreError {
    if is_full(&error) { StoreError::full() } else { StoreError::unavailable(error) }
}

/// Whether the server has no free memory for a claim. Redis 6 says it inside the text of a script error.
pub(crate) fn is_full(error: &RedisError) -> bool {
    error.code() == Some("OOM") || error.detail().is_some_and(|detail| detail.contains("-OOM "))
}

/// Whether the server refuses writes: it is full, a replica, without enough replicas, or cannot save to its disk.
fn is_refused_write(error: &RedisError) -> bool {
    is_full(error) || matches!(error.code(), Some("READONLY" | "NOREPLICAS" | "MISCONF"))
}

/// At least 1, because Redis deletes a key at once whose time to live is 0 ms.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 50)
}

#[async_trait]
impl IdempotencyStore for RedisStore {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let (state, number, matches) = self.run_claim(&self.key(key), claim).await.map_err(store_error)?;
        let state = match state {
            0 => ClaimState::claimed(u32::try_from(number).unwrap_or(u32::MAX)),
            1 => ClaimState::in_flight(Duration::from_millis(number)),
            _ => ClaimState::Done,
        };
        Ok(Claim::new(state, matches == 1))
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.settle(key, Operation::Renew, owner, lease).await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        self.settle(key, Operation::Complete, owner, retention).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.settle(key, Operation::Release, owner, Duration::ZERO).await
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
