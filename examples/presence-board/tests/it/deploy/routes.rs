//! What nginx passes on, and to whom.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use roomz_axum::Secret;
use roomz_axum::testing::TestEvent;

use crate::deploy::Deployment;
use crate::support::program::secret;

/// `visitor:password` in base64.
const LOGIN: &str = "Basic dmlzaXRvcjpwYXNzd29yZA==";

impl Deployment {
    async fn get(&self, path: &str, login: Option<&str>) -> Response<Incoming> {
        let mut request =
            Request::builder().method(Method::GET).uri(format!("http://{}{path}", self.address));
        if let Some(login) = login {
            request = request.header("authorization", login);
        }
        self.send(request.body(Full::default()).unwrap()).await
    }

    pub(crate) async fn deliver(&self, event: &TestEvent, secret: &Secret) -> Response<Incoming> {
        let url = format!("http://{}/webhooks/roomz", self.address);
        self.send(event.request::<Vec<u8>>(&url, secret).map(|body| Full::new(Bytes::from(body)))).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap()
    }
}

#[tokio::test]
async fn page_needs_login() {
    let Some(deployment) = Deployment::start() else { return };
    for path in ["/", "/events", "/api/presence", "/api/stats"] {
        assert_eq!(deployment.get(path, None).await.status(), 401, "{path}");
    }
    let page = deployment.get("/", Some(LOGIN)).await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
}

#[tokio::test]
async fn webhook_needs_signature_and_no_login() {
    let Some(deployment) = Deployment::start() else { return };
    let event = TestEvent::busy();
    assert_eq!(deployment.deliver(&event, &secret()).await.status(), 200);
    let again = deployment.deliver(&event, &secret()).await;
    assert_eq!(again.headers()["roomz-webhook-skipped"], "duplicate", "the instances share a store");

    let forged = deployment.deliver(&TestEvent::busy(), &Secret::new("another").unwrap()).await;
    assert_eq!(forged.status(), 401);
    assert_eq!(forged.headers()["content-type"], "application/problem+json");

    let url = format!("http://{}/webhooks/roomz", deployment.address);
    let large = Request::post(url).body(Full::new(Bytes::from(vec![b' '; 256 * 1024 + 1]))).unwrap();
    assert_eq!(deployment.send(large).await.status(), 413);
}

#[tokio::test]
async fn operator_routes_are_not_public() {
    let Some(deployment) = Deployment::start() else { return };
    for path in ["/metrics", "/readyz", "/healthz"] {
        assert_eq!(deployment.get(path, Some(LOGIN)).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn events_arrive_through_proxy() {
    let Some(deployment) = Deployment::start() else { return };
    let mut events = deployment.get("/events", Some(LOGIN)).await.into_body();
    let first =
        tokio::time::timeout(Duration::from_secs(20), events.frame()).await.expect("a buffered stream");
    let text = first.unwrap().unwrap().into_data().unwrap();
    assert!(text.starts_with(b"event: snapshot") || text.starts_with(b"event:snapshot"), "{text:?}");
}
