//! The contract for stores on a real server, and how connecting fails.

#![allow(clippy::unwrap_used)] // in helpers; a test may

use std::time::Duration;

use roomz_redis::{ConnectErrorKind, RedisStore};
use roomz_tests::{Server, redis_url};
use roomz_webhook::testing::StoreUnderTest;

async fn store() -> Option<RedisStore> {
    Some(RedisStore::connect(&redis_url()?).await.unwrap())
}

// Two connections are two instances.
roomz_webhook::store_contract!(redis, async {
    let (one, other) = (store().await?, store().await?);
    Some(StoreUnderTest::new(one).with_peer(other).with_rounds(2_000))
});

async fn refused(url: &str) -> (ConnectErrorKind, String) {
    let builder = RedisStore::builder(url).with_connect_timeout(Duration::from_millis(300));
    let error = builder.with_response_timeout(Duration::from_millis(300)).connect().await.unwrap_err();
    (error.kind().clone(), format!("{error} {error:?}"))
}

#[tokio::test]
async fn a_wrong_url_is_an_error_that_does_not_repeat_it() {
    for url in ["", "localhost", "http://canary@127.0.0.1", "redis://", "rediss://canary:canary@127.0.0.1"] {
        let (kind, shown) = refused(url).await;
        assert_eq!(kind, ConnectErrorKind::Url, "{url}: {shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[tokio::test]
async fn a_closed_port_and_a_silent_server_are_errors_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap().port();
    for port in [1, silent] {
        let (kind, shown) = refused(&format!("redis://:canary@127.0.0.1:{port}")).await;
        assert_eq!(kind, ConnectErrorKind::Unreachable, "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[tokio::test]
async fn a_refused_login_is_an_error_that_says_so() {
    let Some(server) = Server::redis(&["--requirepass", "right"]) else {
        return drop(redis_url());
    };
    let url = |login: &str| format!("redis://{login}127.0.0.1:{}", server.port());
    for login in ["", ":canary@", "canary:canary@"] {
        let (kind, shown) = refused(&url(login)).await;
        assert_eq!(kind, ConnectErrorKind::Login, "{login}: {shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
    assert!(RedisStore::connect(&url(":right@")).await.is_ok());
}
