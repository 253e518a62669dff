//! The store contract on a real server, a cluster, and a master with sentinels.

use roomz_redis::RedisStore;
use roomz_tests::{redis_cluster_url_or_skip, redis_sentinel_url_or_skip, redis_url_or_skip, rounds};
use roomz_webhook::testing::StoreUnderTest;

/// Two connections stand for two instances.
async fn connect(url: Option<String>, rounds: usize) -> Option<StoreUnderTest> {
    let url = url?;
    let store = RedisStore::connect(&url).await.unwrap();
    let peer = RedisStore::connect(&url).await.unwrap();
    Some(StoreUnderTest::new(store).with_peer(peer).with_rounds(rounds))
}

roomz_webhook::store_contract!(redis, connect(redis_url_or_skip(), rounds(300, 10_000)));
roomz_webhook::store_contract!(redis_cluster, connect(redis_cluster_url_or_skip(), rounds(50, 1_500)));
roomz_webhook::store_contract!(redis_sentinel, connect(redis_sentinel_url_or_skip(), rounds(50, 1_500)));
