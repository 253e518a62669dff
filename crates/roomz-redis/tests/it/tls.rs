//! TLS with the certificate of a private authority, on one server, in a cluster, and with sentinels.

#![cfg(feature = "tls")]

use roomz_redis::{ConnectErrorKind, RedisStore};
use roomz_tests::{Authority, RedisCluster, RedisSentinels, Server};
use roomz_webhook::store::{ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner};
use std::time::Duration;

/// Claims an event over TLS with the authority's certificate, and checks that the connection is rejected
/// without.
async fn needs_authority(url: &str, authority: &Authority) {
    let builder = RedisStore::builder(url).with_root_certificate(authority.certificate());
    let store = builder.connect().await.unwrap();
    let request = ClaimRequest::new(
        Owner::random(),
        Fingerprint::of(b"body"),
        Duration::from_secs(1),
        Duration::from_secs(1),
    );
    let id = "e6ae112e-2af3-4d72-894b-03435d7afde4".parse().unwrap();
    let claim = store.claim(&ClaimKey::new("tls".into(), id), &request).await.unwrap();
    assert_eq!(claim.state, ClaimState::claimed(1));

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
