//! The router, without a socket.

use axum::body::Body;
use axum::http::StatusCode;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, WebhookLayer};
use tower::ServiceExt as _;

#[tokio::test]
async fn a_signed_event_is_handled_and_a_forged_one_is_not() {
    let secret = Secret::new("the webhook secret").unwrap();
    let app = quickstart::app(WebhookLayer::builder(secret.clone()).build().unwrap());

    let signed = TestEvent::busy().request::<Body>("/webhooks/roomz", &secret);
    assert_eq!(app.clone().oneshot(signed).await.unwrap().status(), StatusCode::OK);

    let forger = Secret::new("a guess").unwrap();
    let forged = TestEvent::free().request::<Body>("/webhooks/roomz", &forger);
    assert_eq!(app.oneshot(forged).await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

/// In a paused runtime nothing waits: when client and server both wait, the clock jumps to the next time-out.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_slow_to_send_a_head_is_given_up() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let secret = Secret::new("the webhook secret").unwrap();
    let app = quickstart::app(WebhookLayer::builder(secret).build().unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(quickstart::serve::serve(listener, app, std::future::pending()));
    for sent in ["", "POST /webhooks/roomz HTTP/1.1\r\nhost: loc"] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let start = tokio::time::Instant::now();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert_eq!(start.elapsed().as_secs(), 10, "after {sent:?}");
    }
}
