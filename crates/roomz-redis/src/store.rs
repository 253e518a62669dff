use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, Script};
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, Owner, Settled, StoreError,
    async_trait,
};

use crate::builder::RedisStoreBuilder;
use crate::error::ConnectError;
use crate::link::{Link, Repeat};

/// Claims in Redis or Valkey.
///
/// A clone is the same store on the same connection.
#[derive(Clone)]
pub struct RedisStore {
    link: Arc<Link>,
    prefix: Arc<str>,
    scripts: Arc<Scripts>,
}

struct Scripts {
    claim: Script,
    settle: Script,
}

impl RedisStore {
    /// Connects with the default settings.
    ///
    /// # Errors
    ///
    /// Those of [`RedisStoreBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// Begins a store on the server of this URL: `redis://USER:PASSWORD@HOST:PORT/DATABASE`, all but the host optional.
    pub fn builder(url: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url)
    }

    pub(crate) fn new(link: Link, prefix: String) -> Self {
        let scripts = Scripts {
            claim: Script::new(include_str!("claim.lua")),
            settle: Script::new(include_str!("settle.lua")),
        };
        Self { link: Arc::new(link), prefix: prefix.into(), scripts: Arc::new(scripts) }
    }

    /// Claims and forgets an event that nobody has, to see that the server lets us.
    pub(crate) async fn try_out(&self) -> Result<(), RedisError> {
        let key = format!("{}:try-out:{:032x}", self.prefix, u128::from_be_bytes(Owner::random().to_bytes()));
        let (owner, none) = (Owner::random(), Fingerprint::from_bytes([0; 16]));
        let request = ClaimRequest::new(owner, none, Duration::from_secs(1), Duration::from_secs(1));
        let _: (u8, u64, u8) = self.claim_raw(&key, &request).await?;
        let _: u8 = self.settle_raw(&key, "complete", owner, Duration::from_millis(1)).await?;
        Ok(())
    }

    /// The id comes last and has one length, so that no two pairs of namespace and id share a key.
    fn key(&self, key: &ClaimKey) -> String {
        format!("{}:{}:{}", self.prefix, key.namespace(), key.id())
    }

    async fn claim_raw(&self, key: &str, claim: &ClaimRequest) -> Result<(u8, u64, u8), RedisError> {
        let mut script = self.scripts.claim.key(key);
        script
            .arg(&claim.owner.to_bytes())
            .arg(&claim.fingerprint.to_bytes())
            .arg(millis(claim.lease))
            .arg(millis(claim.retention));
        self.link.invoke(&script, Repeat::Harmless).await
    }

    async fn settle_raw(
        &self,
        key: &str,
        operation: &str,
        owner: Owner,
        duration: Duration,
    ) -> Result<u8, RedisError> {
        let mut script = self.scripts.settle.key(key);
        script.arg(operation).arg(&owner.to_bytes()).arg(millis(duration));
        // Repeated, a release would be told that nobody holds the claim.
        let repeat = if operation == "release" { Repeat::Never } else { Repeat::Harmless };
        self.link.invoke(&script, repeat).await
    }

    async fn settle(
        &self,
        key: &ClaimKey,
        operation: &str,
        owner: Owner,
        duration: Duration,
    ) -> Result<Settled, StoreError> {
        match self.settle_raw(&self.key(key), operation, owner, duration).await {
            Ok(0) => Ok(Settled::Lost),
            Ok(_) => Ok(Settled::Applied),
            Err(error) => Err(StoreError::unavailable(error)),
        }
    }
}

/// At least one: a key that expires in 0 ms is deleted.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 50)
}

#[async_trait]
impl IdempotencyStore for RedisStore {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let (state, number, matches) =
            self.claim_raw(&self.key(key), claim).await.map_err(StoreError::unavailable)?;
        let state = match state {
            0 => ClaimState::claimed(u32::try_from(number).unwrap_or(u32::MAX)),
            1 => ClaimState::in_flight(Duration::from_millis(number)),
            _ => ClaimState::Done,
        };
        Ok(Claim::new(state, matches == 1))
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.settle(key, "renew", owner, lease).await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        self.settle(key, "complete", owner, retention).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.settle(key, "release", owner, Duration::ZERO).await
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
