//! Redis for an instance that is frozen between two invocations.
//!
//! Meanwhile the server closes connections whose other side does not answer, which a frozen one learns when it next uses
//! them. Each operation is therefore tried twice: the second one finds the connection made again. By the contract of the
//! stores the same operation of the same owner may be repeated.

use std::time::Duration;

use async_trait::async_trait;
use roomz_axum::roomz_webhook::{
    Claim, ClaimKey, ClaimRequest, IdempotencyStore, Owner, Settled, StoreError,
};
use roomz_redis::RedisStore;

#[derive(Debug)]
pub(crate) struct Thawing(pub(crate) RedisStore);

#[async_trait]
impl IdempotencyStore for Thawing {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        match self.0.claim(key, claim).await {
            Err(_) => self.0.claim(key, claim).await,
            claimed => claimed,
        }
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        match self.0.renew(key, owner, lease).await {
            Err(_) => self.0.renew(key, owner, lease).await,
            renewed => renewed,
        }
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        match self.0.complete(key, owner, retention).await {
            Err(_) => self.0.complete(key, owner, retention).await,
            completed => completed,
        }
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        match self.0.release(key, owner).await {
            Err(_) => self.0.release(key, owner).await,
            released => released,
        }
    }
}
