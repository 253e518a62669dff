//! TLS with the certificate of a private authority, on one server, in a cluster, and with sentinels.

#![cfg(feature = "tls")]

use roomz_redis::{ConnectError, ConnectErrorKind, RedisStore};
use roomz_tests::{Authority, RedisCluster, RedisSentinels, Server};
use roomz_webhook::store::{ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner};
use std::time::Duration;

async fn connect(url: &str, authority: &Authority) -> Result<RedisStore, ConnectError> {
    RedisStore::builder(url).with_root_certificate(authority.certificate()).connect().await
}

/// Claims a new event.
async fn claim(store: &RedisStore) {
    let request = ClaimRequest::new(
        Owner::random(),
        Fingerprint::of(b"body"),
        Duration::from_secs(1),
        Duration::from_secs(1),
    );
    let id = format!("{:032x}", u128::from_be_bytes(Owner::random().to_bytes())).parse().unwrap();
    let claim = store.claim(&ClaimKey::new("tls".into(), id), &request).await.unwrap();
    assert_eq!(claim.state, ClaimState::claimed(1));
}

/// Claims an event over TLS with the authority's certificate, and checks that the connection is rejected
/// without.
async fn needs_authority(url: &str, authority: &Authority) {
    claim(&connect(url, authority).await.unwrap()).await;
    let other = Authority::create_or_skip().unwrap();
    for builder in
        [RedisStore::builder(url), RedisStore::builder(url).with_root_certificate(other.certificate())]
    {
        let error = builder.connect().await.unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::Tls, "{url}: {error:?}");
        assert!(error.to_string().contains("`with_root_certificate`"), "{error:?}");
    }
}

#[tokio::test]
async fn server_needs_its_authority() {
    let Some(authority) = Authority::for_redis_or_skip() else { return };
    let Some(server) = Server::redis_or_skip(&authority.redis_arguments()) else { return };
    let url = format!("rediss://{}", server.address());
    needs_authority(&url, &authority).await;

    let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(authority.certificate()) };
    let client = redis::Client::build_with_tls(url.as_str(), certificates).unwrap();
    assert!(RedisStore::connect(client).await.is_ok(), "a client brings its own certificates");

    let builder = RedisStore::builder("redis://127.0.0.1").with_root_certificate(authority.certificate());
    let error = builder.connect().await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::InvalidUrl, "{error:?}");
    assert!(error.to_string().contains("use rediss://"), "{error:?}");
}

#[tokio::test]
async fn cluster_needs_its_authority() {
    let Some(authority) = Authority::for_redis_or_skip() else { return };
    let Some(cluster) = RedisCluster::start_or_skip(&authority.redis_arguments()) else { return };
    let first = cluster.nodes.first().unwrap();
    needs_authority(&format!("rediss+cluster://{}", first.address()), &authority).await;
}

#[tokio::test]
async fn sentinel_master_needs_its_authority() {
    let Some(authority) = Authority::for_redis_or_skip() else { return };
    let Some(servers) = RedisSentinels::start_or_skip(&authority.redis_arguments()) else { return };
    needs_authority(&servers.url().replace("redis+", "rediss+"), &authority).await;
}

/// The nodes announce IP addresses, and their certificates name only the host of the URL, as in Azure.
#[tokio::test]
async fn cluster_announces_addresses_without_certificate() {
    let Some(authority) = Authority::for_redis_with_names_or_skip("DNS:localhost") else { return };
    let Some(cluster) = RedisCluster::start_or_skip(&authority.redis_arguments()) else { return };
    let (first, last) = (cluster.nodes.first().unwrap(), cluster.nodes.get(2).unwrap());
    let url = format!("rediss+cluster://localhost:{}", first.port());
    needs_authority(&url, &authority).await;

    let store = connect(&url, &authority).await.unwrap();
    for _ in 0..3 {
        for node in &cluster.nodes {
            node.redis_text("CLIENT KILL TYPE normal");
        }
        // Enough for each of the three masters.
        for _ in 0..20 {
            claim(&store).await;
        }
    }

    // The certificate must not name any other host.
    let error = connect(&format!("rediss+cluster://{}", first.address()), &authority).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Tls, "{error:?}");
    let [certificate, key] = authority.issue("other", "DNS:other.invalid");
    let set = format!("CONFIG SET tls-cert-file {certificate} tls-key-file {key}");
    assert_eq!(last.redis_text(&set), "OK\n");
    let error = connect(&url, &authority).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Tls, "{error:?}");
    let node = format!("the Redis Cluster node {} cannot encrypt", last.address());
    assert!(error.to_string().starts_with(&node), "{error:?}");
}

#[tokio::test]
async fn master_announces_address_without_certificate() {
    let Some(authority) = Authority::for_redis_with_names_or_skip("DNS:localhost") else { return };
    let Some(servers) = RedisSentinels::start_or_skip(&authority.redis_arguments()) else { return };
    let url = servers.url().replace("redis+", "rediss+").replace("127.0.0.1", "localhost");
    needs_authority(&url, &authority).await;

    let master = &servers.nodes[0];
    let [certificate, key] = authority.issue("other", "DNS:other.invalid");
    let set = format!("CONFIG SET tls-cert-file {certificate} tls-key-file {key}");
    assert_eq!(master.redis_text(&set), "OK\n");
    let error = connect(&url, &authority).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Tls, "{error:?}");
    let name = format!("the Redis master {} cannot encrypt", master.address());
    assert!(error.to_string().starts_with(&name), "{error:?}");
}

/// Only the certificate of the first node names the host of the URL, and each names its node's address.
#[tokio::test]
async fn certificate_may_name_announced_address() {
    let Some(authority) = Authority::for_redis_with_names_or_skip("DNS:localhost,IP:127.0.0.1") else {
        return;
    };
    let Some(cluster) = RedisCluster::start_or_skip(&authority.redis_arguments()) else { return };
    let [certificate, key] = authority.issue("address", "IP:127.0.0.1");
    let (first, others) = cluster.nodes.split_first().unwrap();
    for node in others {
        let set = format!("CONFIG SET tls-cert-file {certificate} tls-key-file {key}");
        assert_eq!(node.redis_text(&set), "OK\n");
    }
    let store = connect(&format!("rediss+cluster://localhost:{}", first.port()), &authority).await.unwrap();
    for _ in 0..20 {
        claim(&store).await;
    }
}

#[tokio::test]
async fn root_certificate_may_begin_with_byte_order_mark() {
    let Some(authority) = Authority::for_redis_or_skip() else { return };
    let Some(server) = Server::redis_or_skip(&authority.redis_arguments()) else { return };
    let marked = ["\u{feff}".as_bytes(), &authority.certificate()].concat();
    let url = format!("rediss://{}", server.address());
    assert!(RedisStore::builder(url).with_root_certificate(marked).connect().await.is_ok());
}
