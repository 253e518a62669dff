//! A receiver behind an nginx that keeps its connections to it.

use std::net::SocketAddr;

use axum::Router;
use axum::middleware::map_response;
use axum::routing::post;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use roomz_tests::{Server, secret};
use roomz_webhook::testing::TestEvent;
use tokio::net::TcpStream;

const DELIVERIES: usize = 300;

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Sends one request on a connection that nginx keeps, and returns the status.
async fn send(sender: &mut SendRequest<Full<Bytes>>, mut request: Request<Full<Bytes>>) -> u16 {
    request.headers_mut().insert("host", "localhost".parse().unwrap());
    sender.ready().await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    response.into_body().collect().await.unwrap();
    status
}

/// What others send, signed or not, on any route, does not fail the delivery that nginx sends next on the
/// same connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejections_do_not_fail_deliveries_behind_nginx() {
    let (listener, receiver) = super::listener().await;
    let app = Router::new()
        .route("/hook", post(super::handler).layer(super::layer()))
        .layer(map_response(async |response| roomz_axum::close_unrouted(response)));
    tokio::spawn(async { axum::serve(listener, app).await });
    let http = format!("upstream receiver {{ server {receiver}; keepalive 4; }}");
    let server = "location / { proxy_pass http://receiver; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
                  proxy_next_upstream off; }";
    let Some(nginx) = Server::nginx_or_skip(&http, server) else { return };
    let address = SocketAddr::from(([127, 0, 0, 1], nginx.port()));

    let others = tokio::spawn(async move {
        let mut sender = connect(address).await;
        for round in 0.. {
            let (method, path, status) =
                [("POST", "/hook", 401), ("PUT", "/hook", 405), ("POST", "/other", 404)][round % 3];
            let body = Full::from(vec![b'x'; [225, 60_000][round % 2]]);
            let request = Request::builder().method(method).uri(path).body(body).unwrap();
            let answered = send(&mut sender, request).await;
            // The router does not read the body of an unknown route, so nginx may fail to send it.
            assert!(answered == status || (path, answered) == ("/other", 502), "{method} {path}: {answered}");
        }
    });
    let mut sender = connect(address).await;
    let mut failed = Vec::new();
    for _ in 0..DELIVERIES {
        let status = send(&mut sender, TestEvent::busy().request("/hook", &secret())).await;
        if status != 200 {
            failed.push(status);
        }
    }
    assert!(failed.is_empty(), "{} of {DELIVERIES} deliveries failed: {failed:?}", failed.len());
    assert!(!others.is_finished(), "{:?}", others.await);
    others.abort();
}
