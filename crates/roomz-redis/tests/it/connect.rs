//! What a store connects to, and how connecting fails.

use std::time::Duration;

use crate::faults::{claim, new_key};
use roomz_redis::{ConnectErrorKind, RedisStore};
use roomz_tests::proxy::{Network, Proxy};
use roomz_tests::{
    RedisCluster, RedisSentinels, Server, poll, redis_cluster_url_or_skip, redis_sentinel_url_or_skip,
    redis_url_or_skip,
};
use roomz_webhook::store::{ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner};

const TIMEOUT: Duration = Duration::from_millis(300);
const LEASE: Duration = Duration::from_secs(60);

/// Returns the kind of the error, and everything that it prints.
async fn connect_error(url: &str) -> (ConnectErrorKind, String) {
    let error = RedisStore::builder(url).with_timeout(TIMEOUT).connect().await.unwrap_err();
    (error.kind(), format!("{error} {error:?}"))
}

#[tokio::test]
async fn rejects_invalid_url_without_printing_it() {
    for (url, advice) in [
        ("", "scheme is missing"),
        ("localhost", "scheme is missing"),
        ("canary:canary@127.0.0.1://", "scheme is missing"),
        ("http://canary@127.0.0.1", "unknown scheme \"http\"; use redis:// or rediss://"),
        ("rdis://:canary@127.0.0.1", "unknown scheme \"rdis\"; use redis:// or rediss://"),
        ("redis://", "redis://USER:PASSWORD@HOST:PORT/DATABASE"),
        ("redis://:canary@127.0.0.1:port", "redis://USER:PASSWORD@HOST:PORT/DATABASE"),
        ("rdis+cluster://:canary@127.0.0.1", "unknown scheme \"rdis+cluster\""),
        ("redis+cluster://", "use redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT"),
        ("redis+cluster://:canary@127.0.0.1:port,127.0.0.1", "invalid Redis URL"),
        ("redis+sentinel://:canary@127.0.0.1:26379", "use redis+sentinel://USER:PASSWORD@HOST:PORT"),
        ("redis+sentinel://:canary@/claims", "use redis+sentinel://USER:PASSWORD@HOST:PORT"),
        #[cfg(not(feature = "tls"))]
        ("rediss://canary:canary@127.0.0.1", "enable the feature `tls`"),
        #[cfg(not(feature = "tls"))]
        ("rediss+cluster://canary:canary@127.0.0.1", "enable the feature `tls`"),
    ] {
        let (kind, text) = connect_error(url).await;
        assert_eq!(kind, ConnectErrorKind::InvalidUrl, "{url}: {text}");
        assert!(text.contains(advice), "{url}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn reports_unreachable_server_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap().port();
    for port in [1, silent] {
        let (kind, text) = connect_error(&format!("redis://:canary@127.0.0.1:{port}")).await;
        assert_eq!(kind, ConnectErrorKind::Unreachable, "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn reports_rejected_login() {
    let Some(server) = Server::redis_or_skip(&["--requirepass", "right"]) else { return };
    let url = |login: &str| format!("redis://{login}127.0.0.1:{}", server.port());
    for login in ["", ":canary@", "canary:canary@"] {
        let (kind, text) = connect_error(&url(login)).await;
        assert_eq!(kind, ConnectErrorKind::LoginRejected, "{login}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
    assert!(RedisStore::connect(url(":right@")).await.is_ok());
}

/// A server without a memory limit never evicts, whatever its policy.
#[tokio::test]
async fn rejects_eviction_unless_allowed() {
    let Some(evicting) =
        Server::redis_or_skip(&["--maxmemory", "50mb", "--maxmemory-policy", "volatile-lru"])
    else {
        return;
    };
    let url = format!("redis://127.0.0.1:{}", evicting.port());
    let (kind, text) = connect_error(&url).await;
    assert_eq!(kind, ConnectErrorKind::Unsupported, "{text}");
    assert!(
        text.contains("\"volatile-lru\"") && text.contains("set `maxmemory-policy noeviction`"),
        "{text}"
    );
    assert!(RedisStore::builder(&url).with_eviction_allowed(true).connect().await.is_ok());
    for arguments in [
        &["--maxmemory-policy", "allkeys-lru"][..],
        &["--maxmemory", "50mb", "--maxmemory-policy", "noeviction"],
    ] {
        let server = Server::redis(arguments).unwrap();
        let url = format!("redis://127.0.0.1:{}", server.port());
        assert!(RedisStore::connect(url).await.is_ok(), "{arguments:?}");
    }
}

/// Each URL names another topology than the server's. The message names the right one.
#[tokio::test]
async fn rejects_other_topology() {
    let (Some(single), Some(cluster), Some(sentinel)) =
        (redis_url_or_skip(), redis_cluster_url_or_skip(), redis_sentinel_url_or_skip())
    else {
        return;
    };
    let address = |url: &str| url.rsplit_once("//").unwrap().1.split([',', '/']).next().unwrap().to_owned();
    let (single, node, sentinel) = (address(&single), address(&cluster), address(&sentinel));
    for (url, expected, advice) in [
        (format!("redis://{node}"), ConnectErrorKind::Unsupported, "use redis+cluster://HOST:PORT"),
        (
            format!("redis://{sentinel}"),
            ConnectErrorKind::Unsupported,
            "use redis+sentinel://HOST:PORT/MASTER",
        ),
        (format!("redis+cluster://{single}"), ConnectErrorKind::Unsupported, "use redis://HOST:PORT"),
        (format!("redis+sentinel://{single}/claims"), ConnectErrorKind::Unsupported, "use redis://HOST:PORT"),
        (format!("redis+sentinel://{sentinel}/floors"), ConnectErrorKind::InvalidUrl, "the name \"floors\""),
        (
            format!("redis+cluster://{node}/1"),
            ConnectErrorKind::LoginRejected,
            "no database with this number",
        ),
        (format!("redis://{single}/99"), ConnectErrorKind::LoginRejected, "no database with this number"),
    ] {
        let (kind, text) = connect_error(&url).await;
        assert!(kind == expected && text.contains(advice), "{url}: {kind:?} {text}");
    }
    // A cluster of one node never redirects.
    let only_node = Server::redis(&["--cluster-enabled", "yes"]).unwrap();
    only_node.add_cluster_slots(0..=16_383);
    poll("the cluster", || only_node.redis_text("CLUSTER INFO").contains("cluster_state:ok"));
    let client = redis::Client::open(format!("redis://{}", only_node.address())).unwrap();
    let error = RedisStore::connect(client).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Unsupported, "{error:?}");
    for url in [
        format!("redis+cluster://127.0.0.1:1,{node}"),
        format!("redis+sentinel://127.0.0.1:1,{sentinel}/claims/2"),
    ] {
        assert!(RedisStore::connect(&url).await.is_ok(), "one address is reachable: {url}");
    }
}

/// Each master is checked, whichever node the URL names. Without `INFO`, the mode is still known.
#[tokio::test]
async fn checks_every_master_of_cluster() {
    let Some(cluster) = RedisCluster::start_or_skip(&["--requirepass", "right", "--masterauth", "right"])
    else {
        return;
    };
    let (first, last) = (cluster.nodes.first().unwrap(), cluster.nodes.get(2).unwrap());
    let url = |login: &str| format!("redis+cluster://{login}@{}", first.address());
    assert!(RedisStore::connect(url(":right")).await.is_ok());
    assert_eq!(connect_error(&url(":canary")).await.0, ConnectErrorKind::LoginRejected);
    // A hash tag: the keys of this store have one slot, and two masters have none of them.
    assert!(RedisStore::builder(url(":right")).with_prefix("{roomz}").connect().await.is_ok());

    for node in &cluster.nodes {
        node.redis_text("ACL SETUSER claims on >canary ~roomz:* +@all -info");
    }
    assert!(RedisStore::connect(url("claims:canary")).await.is_ok());
    let (kind, text) = connect_error(&format!("redis://claims:canary@{}", first.address())).await;
    assert!(kind == ConnectErrorKind::Unsupported && text.contains("redis+cluster://"), "{kind:?} {text}");

    last.redis_text("ACL SETUSER claims -get");
    assert_eq!(connect_error(&url("claims:canary")).await.0, ConnectErrorKind::PermissionDenied);

    last.redis_text("CONFIG SET maxmemory 50mb");
    last.redis_text("CONFIG SET maxmemory-policy volatile-lru");
    let (kind, text) = connect_error(&url(":right")).await;
    assert_eq!(kind, ConnectErrorKind::Unsupported, "{text}");
    assert!(text.contains(&last.address().to_string()) && text.contains("volatile-lru"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

/// The master and the sentinels require the same login.
#[tokio::test]
async fn logs_in_to_sentinels_that_require_it() {
    let login = ["--requirepass", "right", "--masterauth", "right"];
    let Some(servers) = RedisSentinels::start_or_skip(&login) else { return };
    let url = |login: &str| servers.url().replace("://", &format!("://{login}@"));
    assert!(RedisStore::connect(url(":right")).await.is_ok());
    for sentinel in &servers.sentinels {
        assert_eq!(sentinel.redis_command("ACL SETUSER default resetpass >right"), "+OK");
    }
    assert!(RedisStore::connect(url(":right")).await.is_ok());
    assert_eq!(connect_error(&url(":canary")).await.0, ConnectErrorKind::LoginRejected);
}

/// The master and the sentinels require different logins, or only the sentinels require one.
#[tokio::test]
async fn sentinels_have_login_of_their_own() {
    let Some(servers) = RedisSentinels::start_or_skip(&[]) else { return };
    let url = |login: &str, query: &str| servers.url().replace("://", &format!("://{login}")) + query;
    let password = "?sentinel_password=of%40sentinels";
    for sentinel in &servers.sentinels {
        assert_eq!(sentinel.redis_command("ACL SETUSER default resetpass >of@sentinels"), "+OK");
    }
    assert!(RedisStore::connect(url("", password)).await.is_ok(), "the sentinels only");
    let (kind, text) = connect_error(&url("", "?sentinel_password=canary")).await;
    assert_eq!(kind, ConnectErrorKind::LoginRejected, "{text}");
    assert!(text.starts_with("the Redis Sentinel 127.0.0.1:"), "{text}");
    assert!(text.contains("sentinel_password=PASSWORD") && !text.contains("canary"), "{text}");

    let master = &servers.nodes[0];
    assert_eq!(master.redis_command("ACL SETUSER claims on >right ~roomz:* +@all"), "+OK");
    assert_eq!(master.redis_command("ACL SETUSER default off"), "+OK");
    assert!(RedisStore::connect(url("claims:right@", password)).await.is_ok(), "different passwords");
    for login in ["", "claims:canary@", "canary:right@"] {
        let (kind, text) = connect_error(&url(login, password)).await;
        assert_eq!(kind, ConnectErrorKind::LoginRejected, "{text}");
        let name = format!("the Redis master {} rejected the login", master.address());
        assert!(text.starts_with(&name) && !text.contains("canary"), "{text}");
    }

    for sentinel in &servers.sentinels {
        let user = "AUTH of@sentinels\r\nACL SETUSER watcher on >right +@all";
        assert_eq!(sentinel.redis_command(user), "+OK");
    }
    let user = "/0?sentinel_username=watcher&protocol=resp3&sentinel_password=right";
    assert!(RedisStore::connect(url("claims:right@", user)).await.is_ok(), "a user of the sentinels");
}

#[tokio::test]
async fn error_names_cluster_node() {
    let Some(cluster) = RedisCluster::start_or_skip(&[]) else { return };
    let (first, last) = (cluster.nodes.first().unwrap(), cluster.nodes.get(2).unwrap());
    for node in &cluster.nodes {
        let password = if node.port() == last.port() { "other" } else { "canary" };
        assert_eq!(node.redis_command(&format!("ACL SETUSER claims on >{password} ~roomz:* +@all")), "+OK");
    }
    let (kind, text) = connect_error(&format!("redis+cluster://claims:canary@{}", first.address())).await;
    assert_eq!(kind, ConnectErrorKind::LoginRejected, "{text}");
    let name = format!("the Redis Cluster node {} rejected the login", last.address());
    assert!(text.starts_with(&name) && !text.contains("canary"), "{text}");
}

/// The log shows the text of a failed operation.
#[tokio::test]
async fn failed_operation_names_server() {
    let Some(mut server) = Server::redis_or_skip(&[]) else { return };
    let store = RedisStore::builder(format!("redis://:canary@{}", server.address()));
    assert!(store.connect().await.is_err(), "the server has no password");
    let store = RedisStore::builder(format!("redis://{}", server.address())).with_timeout(TIMEOUT);
    let store = store.connect().await.unwrap();
    server.kill();
    let id = "e6ae112e-2af3-4d72-894b-03435d7afde4".parse().unwrap();
    let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b"body"), LEASE, LEASE);
    let error = store.claim(&ClaimKey::new("connect".into(), id), &request).await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains(&format!("the Redis server {} failed", server.address())), "{text}");
}

/// The sentinels do not know yet that the master became a replica.
#[tokio::test]
async fn rejects_replica_that_sentinels_name() {
    let Some(servers) = RedisSentinels::start_or_skip(&[]) else { return };
    assert_eq!(servers.nodes[0].redis_command("REPLICAOF 127.0.0.1 1"), "+OK");
    let (kind, text) = connect_error(&servers.url()).await;
    assert!(kind == ConnectErrorKind::Unreachable && text.contains("is a replica"), "{kind:?} {text}");
}

/// The version is then unknown, and the self test decides.
#[tokio::test]
async fn connects_without_permission_for_info() {
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    assert_eq!(server.redis_command("ACL SETUSER claims on >canary ~roomz:* +@all -info"), "+OK");
    let url = format!("redis://claims:canary@127.0.0.1:{}", server.port());
    assert!(RedisStore::connect(&url).await.is_ok());
}

/// The self-test executes each command, because an operation without permission would fail at a delivery.
#[tokio::test]
async fn requires_permission_for_each_command() {
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    let url = format!("redis://claims:canary@127.0.0.1:{}", server.port());
    // Another user has loaded the scripts.
    assert!(RedisStore::connect(format!("redis://127.0.0.1:{}", server.port())).await.is_ok());
    for command in ["set", "get", "pttl", "pexpire", "evalsha", "script"] {
        let user = format!("ACL SETUSER claims reset on >canary ~roomz:* +@all -{command}");
        assert_eq!(server.redis_command(&user), "+OK");
        let (kind, text) = connect_error(&url).await;
        assert_eq!(kind, ConnectErrorKind::PermissionDenied, "{command}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
    let least = "+evalsha +script|load +set +get +pttl +pexpire";
    assert_eq!(server.redis_command(&format!("ACL SETUSER claims reset on >canary ~roomz:* {least}")), "+OK");
    assert!(RedisStore::connect(&url).await.is_ok());
}

/// `Debug` is what `main` prints for a returned error.
#[tokio::test]
async fn debug_prints_message_and_cause() {
    let error = RedisStore::connect("redis://127.0.0.1:1").await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.starts_with("the Redis server 127.0.0.1:1 is not reachable; "), "{text}");
    assert!(text.contains("refused"), "{text}");
}

#[tokio::test]
async fn accepts_everything_that_names_a_server() {
    let Some(url) = redis_url_or_skip() else { return };
    let client = redis::Client::open(url.as_str()).unwrap();
    let stores = [
        RedisStore::connect(url.as_str()).await,
        RedisStore::connect(&url).await,
        RedisStore::connect(url).await,
        RedisStore::connect(client).await,
    ];
    let (id, owner) = (Owner::random().to_bytes(), Owner::random());
    let id = format!("{:032x}", u128::from_be_bytes(id)).parse().unwrap();
    let key = ClaimKey::new("connect".into(), id);
    for store in stores {
        let request = ClaimRequest::new(owner, Fingerprint::of(b"body"), LEASE, LEASE);
        let claim = store.unwrap().claim(&key, &request).await.unwrap();
        assert_eq!(claim.state, ClaimState::claimed(1));
    }
}

#[tokio::test]
async fn accepts_longest_timeout() {
    let Some(url) = redis_url_or_skip() else { return };
    assert!(RedisStore::builder(url).with_timeout(Duration::MAX).connect().await.is_ok());
}

/// Two receivers of different subscriptions share a server.
#[tokio::test]
async fn prefixes_separate_claims() {
    let Some(url) = redis_url_or_skip() else { return };
    let id = format!("{:032x}", u128::from_be_bytes(Owner::random().to_bytes()));
    let key = ClaimKey::new("roomz".into(), id.parse().unwrap());
    for prefix in ["first", "second"] {
        let store = RedisStore::builder(&url).with_prefix(prefix).connect().await.unwrap();
        let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b"{}"), LEASE, LEASE);
        assert_eq!(store.claim(&key, &request).await.unwrap().state, ClaimState::claimed(1));
    }
}

/// The operation that opened a connection was given up while the network was silent.
#[tokio::test]
async fn abandoned_attempt_to_connect_is_repeated() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    let proxy = Proxy::start(server.address()).await;
    let builder = RedisStore::builder(format!("redis://{}", proxy.address()));
    let store = builder.with_timeout(TIMEOUT).connect().await.unwrap();
    proxy.set(Network::Closes);
    assert!(claim(&store, &new_key(), Owner::random()).await.is_err());
    proxy.set(Network::Blackholes);
    let (key, owner) = (new_key(), Owner::random());
    let given_up = tokio::time::timeout(TIMEOUT / 4, claim(&store, &key, owner));
    assert!(given_up.await.is_err(), "the network is silent");
    proxy.set(Network::Forwards);
    let mut claimed = claim(&store, &key, owner).await;
    for _ in 0..9 {
        if claimed.is_err() {
            claimed = claim(&store, &key, owner).await;
        }
    }
    assert_eq!(claimed.unwrap(), ClaimState::claimed(1));
}
