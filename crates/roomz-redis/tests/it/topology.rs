//! Redirections, lost replies and failures of masters, in a Redis Cluster and with Redis Sentinels.

use std::time::{Duration, Instant};

use roomz_redis::RedisStore;
use roomz_tests::proxy::{Network, Proxy};
use roomz_tests::{RedisCluster, Server, poll};
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner, Settled, StoreError,
};

const HOUR: Duration = Duration::from_secs(3_600);
const TIMEOUT: Duration = Duration::from_millis(400);
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(30);

async fn connect(url: &str) -> RedisStore {
    RedisStore::builder(url).with_timeout(TIMEOUT).connect().await.unwrap()
}

fn new_key() -> ClaimKey {
    let id = format!("{:032x}", u128::from_be_bytes(Owner::random().to_bytes()));
    ClaimKey::new("topology".into(), id.parse().unwrap())
}

async fn claim(store: &RedisStore, key: &ClaimKey, owner: Owner) -> Result<Claim, StoreError> {
    store.claim(key, &ClaimRequest::new(owner, Fingerprint::of(b"body"), HOUR, HOUR)).await
}

fn redis_key(key: &ClaimKey) -> String {
    format!("roomz:{}:{}", key.namespace(), key.id())
}

fn slot(node: &Server, key: &ClaimKey) -> u16 {
    node.redis_text(&format!("CLUSTER KEYSLOT {}", redis_key(key))).trim().parse().unwrap()
}

/// Waits until the server executed the operation. The connection of its lost reply is closed when the network
/// forwards again.
async fn lose_reply(proxy: &Proxy, is_executed: impl Fn() -> bool) {
    let start = Instant::now();
    tokio::task::yield_now().await;
    while !is_executed() {
        assert!(
            start.elapsed() < RECOVERY_TIMEOUT,
            "the operation is not executed within {RECOVERY_TIMEOUT:?}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    proxy.set(Network::Forwards);
}

/// The server executes each operation, but its reply is lost and the connection breaks.
async fn lose_replies(url: &str, server: &Server, proxy: &Proxy) {
    let store = connect(url).await;
    let (key, owner) = (new_key(), Owner::random());
    let state = || server.redis_text(&format!("GETRANGE {} 0 0", redis_key(&key)));
    proxy.set(Network::DropsReplies);
    let (claimed, ()) = tokio::join!(claim(&store, &key, owner), lose_reply(proxy, || state() == "R\n"));
    assert_eq!(claimed.unwrap().state, ClaimState::claimed(1), "a claim is repeated");

    proxy.set(Network::DropsReplies);
    let time_to_live =
        || server.redis_text(&format!("PTTL {}", redis_key(&key))).trim().parse::<u128>().unwrap();
    let renewal = store.renew(&key, owner, HOUR * 2);
    let (renewed, ()) = tokio::join!(renewal, lose_reply(proxy, || time_to_live() > HOUR.as_millis()));
    assert_eq!(renewed.unwrap(), Settled::Applied, "a renewal is repeated");

    proxy.set(Network::DropsReplies);
    let (released, ()) = tokio::join!(store.release(&key, owner), lose_reply(proxy, || state() == "F\n"));
    assert_eq!(released.unwrap(), Settled::Applied, "a release is repeated");

    let claimed = claim(&store, &key, owner).await.unwrap();
    assert_eq!(claimed.state, ClaimState::claimed(2));
    proxy.set(Network::DropsReplies);
    let completion = store.complete(&key, owner, HOUR);
    let (completed, ()) = tokio::join!(completion, lose_reply(proxy, || state() == "D\n"));
    assert_eq!(completed.unwrap(), Settled::Applied, "a completion is repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_repeats_operations() {
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    let proxy = Proxy::start(server.address()).await;
    lose_replies(&format!("redis://{}", proxy.address()), &server, &proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_repeats_operations() {
    let Some(server) = Server::redis_or_skip(&["--cluster-enabled", "yes"]) else { return };
    let proxy = Proxy::start(server.address()).await;
    let port = proxy.address().port();
    server.add_cluster_slots(0..=16_383);
    for command in [
        "CONFIG SET cluster-announce-ip 127.0.0.1".to_owned(),
        format!("CONFIG SET cluster-announce-port {port}"),
    ] {
        assert_eq!(server.redis_command(&command), "+OK");
    }
    let slots = || server.redis_text("CLUSTER SLOTS");
    poll("the cluster", || server.redis_text("CLUSTER INFO").contains("cluster_state:ok"));
    poll("the announced port", || slots().contains(&port.to_string()));
    lose_replies(&format!("redis+cluster://{}", proxy.address()), &server, &proxy).await;
}

/// A slot that moves answers `ASK` for keys that it does not have any more, and `MOVED` at the end.
#[tokio::test]
async fn cluster_follows_redirections() {
    let Some(cluster) = RedisCluster::start_or_skip(&[]) else { return };
    let store = connect(&cluster.url()).await;
    let (source, target) = (cluster.nodes.first().unwrap(), cluster.nodes.get(1).unwrap());
    let (source_id, target_id) = (RedisCluster::id(source), RedisCluster::id(target));
    let key = std::iter::repeat_with(new_key).find(|key| slot(source, key) < 5_000).unwrap();
    let (slot, owner) = (slot(source, &key), Owner::random());
    let set = |node: &Server, state: String| {
        assert_eq!(node.redis_command(&format!("CLUSTER SETSLOT {slot} {state}")), "+OK");
    };
    set(target, format!("IMPORTING {source_id}"));
    set(source, format!("MIGRATING {target_id}"));
    assert_eq!(claim(&store, &key, owner).await.unwrap().state, ClaimState::claimed(1), "ASK");
    assert_eq!(target.redis_text(&format!("CLUSTER COUNTKEYSINSLOT {slot}")), "1\n");
    set(target, format!("NODE {target_id}"));
    set(source, format!("NODE {target_id}"));
    assert_eq!(store.complete(&key, owner, HOUR).await.unwrap(), Settled::Applied, "MOVED");
    assert_eq!(claim(&store, &key, Owner::random()).await.unwrap().state, ClaimState::Done);
}

#[tokio::test]
async fn cluster_loads_script_on_each_node() {
    let Some(cluster) = RedisCluster::start_or_skip(&[]) else { return };
    let store = connect(&cluster.url()).await;
    for node in &cluster.nodes {
        assert_eq!(node.redis_command("SCRIPT FLUSH"), "+OK");
    }
    for _ in 0..100 {
        let (key, owner) = (new_key(), Owner::random());
        assert_eq!(claim(&store, &key, owner).await.unwrap().state, ClaimState::claimed(1));
        assert_eq!(store.release(&key, owner).await.unwrap(), Settled::Applied);
    }
}

/// While a master does not reply, claims fail for its slots only.
#[tokio::test]
async fn stopped_master_fails_own_slots_only() {
    // The replica would take over soon.
    let Some(cluster) = RedisCluster::start_or_skip(&["--cluster-replica-no-failover", "yes"]) else {
        return;
    };
    assert!(
        cluster
            .nodes
            .iter()
            .all(|node| { node.redis_command("CONFIG SET cluster-node-timeout 60000") == "+OK" })
    );
    let store = connect(&cluster.url()).await;
    let (stopped, healthy) = (cluster.nodes.first().unwrap(), cluster.nodes.get(1).unwrap());
    stopped.signal("STOP");
    let (mut own, mut others) = (0, 0);
    for _ in 0..20 {
        let key = new_key();
        let result = claim(&store, &key, Owner::random()).await;
        if slot(healthy, &key) < 16_384_u16.div_ceil(3) {
            assert!(result.is_err(), "{result:?}");
            own += 1;
        } else {
            assert_eq!(result.unwrap().state, ClaimState::claimed(1));
            others += 1;
        }
    }
    assert!(own > 0 && others > 0, "{own} {others}");
    stopped.signal("CONT");
    claim_until_accepted(&store, stopped, 0..5_000).await;
}

#[tokio::test]
async fn killed_cluster_recovers_when_restarted() {
    let Some(mut cluster) = RedisCluster::start_or_skip(&[]) else { return };
    let store = connect(&cluster.url()).await;
    cluster.nodes.iter_mut().for_each(Server::kill);
    for _ in 0..20 {
        assert!(claim(&store, &new_key(), Owner::random()).await.is_err());
    }
    cluster.nodes.iter_mut().for_each(Server::restart);
    claim_until_accepted(&store, cluster.nodes.first().unwrap(), 0..16_384).await;
}

/// Claims a new key in these slots until a claim is accepted.
async fn claim_until_accepted(store: &RedisStore, node: &Server, slots: std::ops::Range<u16>) {
    let key = std::iter::repeat_with(new_key).find(|key| slots.contains(&slot(node, key))).unwrap();
    let start = Instant::now();
    while claim(store, &key, Owner::random()).await.is_err() {
        assert!(start.elapsed() < RECOVERY_TIMEOUT, "the store did not recover within {RECOVERY_TIMEOUT:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
