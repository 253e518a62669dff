use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::{Client, FromRedisValue, Script};
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, Owner, Settled, StoreError,
    async_trait,
};

use crate::cluster::Cluster;
use crate::connection::{Call, Connection};
use crate::endpoint::Endpoint;
use crate::errors::{ServerError, is_full, is_refused_write};
use crate::record::first_claim;

static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("claim.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(SETTLE_CODE));
const SETTLE_CODE: &str = include_str!("settle.lua");

/// A store that keeps claims in Redis or Valkey.
///
/// Create one with [`connect`](Self::connect), or with [`builder`](Self::builder) to change settings. A clone
/// shares the connection.
#[derive(Clone, derive_more::Debug)]
#[debug("RedisStore {{ prefix: {prefix:?}, .. }}")]
pub struct RedisStore {
    backend: Arc<Backend>,
    prefix: Arc<str>,
}

/// What the store talks to.
pub(crate) enum Backend {
    /// One server, or the current master of sentinels.
    Server(Arc<Connection>),
    Cluster(Cluster),
}

impl Backend {
    pub(crate) fn server(client: Client, timeout: Duration) -> Self {
        let endpoint = Endpoint::new("the Redis server", client, Arc::default(), timeout);
        Self::Server(Arc::new(Connection::to_server(endpoint)))
    }

    /// Executes a call on the server of this key.
    async fn invoke<T: FromRedisValue>(&self, key: &str, call: Call) -> Result<T, ServerError> {
        match self {
            Self::Server(connection) => connection.invoke(&call).await,
            Self::Cluster(cluster) => cluster.invoke(key, call).await,
        }
    }
}

impl RedisStore {
    pub(crate) fn new(backend: Backend, prefix: &str) -> Self {
        Self { backend: Arc::new(backend), prefix: prefix.into() }
    }

    /// The servers that accept writes, each with a new key of its own for the self-test.
    pub(crate) fn masters(&self) -> Vec<(String, Arc<Connection>)> {
        let new_key =
            || format!("{}:self-test:{:032x}", self.prefix, u128::from_be_bytes(Owner::random().to_bytes()));
        match &*self.backend {
            Backend::Server(connection) => vec![(new_key(), Arc::clone(connection))],
            Backend::Cluster(cluster) => cluster.masters(new_key),
        }
    }

    /// Executes each command of the store, to find out whether the server permits them. The key expires after
    /// a second at most.
    pub(crate) async fn self_test(&self, key: &str) -> Result<(), ServerError> {
        let (owner, second) = (Owner::random(), Duration::from_secs(1));
        let request = |owner| ClaimRequest::new(owner, Fingerprint::from_bytes([0; 16]), second, second);
        // Another process may have loaded the scripts, and a server forgets them when it restarts.
        let _: String = self.backend.invoke(key, Call::command(&["SCRIPT", "LOAD", SETTLE_CODE])).await?;
        let _: Settled = self.settle(key, "release", owner, second).await?;
        let _: Claim = self.run_claim(key, &request(owner)).await?;
        let _: Claim = self.run_claim(key, &request(Owner::random())).await?;
        let _: Settled = self.settle(key, "complete", owner, Duration::from_millis(1)).await?;
        Ok(())
    }

    /// The id comes last and has a fixed length, so that two pairs of namespace and id never share a key.
    fn key(&self, key: &ClaimKey) -> String {
        format!("{}:{}:{}", self.prefix, key.namespace(), key.id())
    }

    async fn run_claim(&self, key: &str, claim: &ClaimRequest) -> Result<Claim, ServerError> {
        let lease = millis(claim.lease);
        let kept = millis(claim.retention).max(lease);
        let (owner, fingerprint) = (claim.owner.to_bytes(), claim.fingerprint.to_bytes());
        let mut call = Call::command(&["SET", key]);
        call.command.arg(first_claim(owner, fingerprint, kept - lease)).arg("NX").arg("PX").arg(kept);
        match self.backend.invoke(key, call).await {
            Ok(true) => return Ok(Claim::new(ClaimState::claimed(1), true)),
            Ok(false) => {}
            // A server that refuses writes still knows whether the event is done.
            Err(error) if is_refused_write(&error.error) => {}
            Err(error) => return Err(error),
        }
        let mut call = Call::script(&CLAIM, key);
        call.command.arg(&owner).arg(&fingerprint).arg(lease).arg(kept);
        let (state, number, matches): (u8, u64, u8) = self.backend.invoke(key, call).await?;
        let state = match state {
            0 => ClaimState::claimed(u32::try_from(number).unwrap_or(u32::MAX)),
            1 => ClaimState::in_flight(Duration::from_millis(number)),
            _ => ClaimState::Done,
        };
        Ok(Claim::new(state, matches == 1))
    }

    /// Executes an operation of `settle.lua`.
    async fn settle(
        &self,
        key: &str,
        operation: &str,
        owner: Owner,
        duration: Duration,
    ) -> Result<Settled, ServerError> {
        let mut call = Call::script(&SETTLE, key);
        call.command.arg(operation).arg(&owner.to_bytes()).arg(millis(duration));
        let is_applied = self.backend.invoke(key, call).await?;
        Ok(if is_applied { Settled::Applied } else { Settled::Lost })
    }
}

fn store_error(error: ServerError) -> StoreError {
    if is_full(&error.error) { StoreError::full() } else { StoreError::unavailable(error) }
}

/// At least 1, because Redis deletes a key at once whose time to live is 0 ms.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 50)
}

#[async_trait]
impl IdempotencyStore for RedisStore {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        self.run_claim(&self.key(key), claim).await.map_err(store_error)
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.settle(&self.key(key), "renew", owner, lease).await.map_err(store_error)
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        self.settle(&self.key(key), "complete", owner, retention).await.map_err(store_error)
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.settle(&self.key(key), "release", owner, Duration::ZERO).await.map_err(store_error)
    }
}
