//! The store contract on a real server.

#![allow(clippy::unwrap_used, reason = "a test may panic in its helpers")]

use roomz_redis::RedisStore;
use roomz_tests::redis_url_or_skip;
use roomz_webhook::testing::StoreUnderTest;

async fn connect() -> Option<RedisStore> {
    Some(RedisStore::connect(redis_url_or_skip()?).await.unwrap())
}

// Two connections stand for two instances.
roomz_webhook::store_contract!(redis, async {
    let (store, peer) = (connect().await?, connect().await?);
    Some(StoreUnderTest::new(store).with_peer(peer).with_rounds(2_000))
});
