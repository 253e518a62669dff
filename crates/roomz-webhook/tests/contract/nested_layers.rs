//! Two layers around each other.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use roomz_webhook::store::MokaStore;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Rejection, RejectionKind, WebhookBody, WebhookLayer};
use tokio::time::{Duration, Instant};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::support::secret;

fn layer(store: &MokaStore, namespace: &str) -> WebhookLayer {
    WebhookLayer::builder(secret()).with_store(store.clone()).with_namespace(namespace).build().unwrap()
}

/// Sends one event through two layers, and returns the status and the kind of the rejection.
async fn send(outer: WebhookLayer, inner: WebhookLayer) -> (u16, Option<RejectionKind>, Bytes) {
    let handler = service_fn(async |_: Request<WebhookBody>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = ServiceBuilder::new().layer(outer).layer(inner).service(handler);
    let request = TestEvent::busy().request::<Body>("/", &secret());
    let response = service.oneshot(request).await.unwrap();
    let kind = response.extensions().get::<Rejection>().map(Rejection::kind);
    let status = response.status().as_u16();
    (status, kind, response.into_body().collect().await.unwrap().to_bytes())
}

/// The inner layer would wait for the claim that the outer one holds. It answers at once and names the mistake.
#[tokio::test(start_paused = true)]
async fn same_claim_is_rejected_at_once() {
    let (store, start) = (MokaStore::new(), Instant::now());
    let (status, kind, body) = send(layer(&store, "roomz"), layer(&store, "roomz")).await;
    assert_eq!((status, kind), (500, Some(RejectionKind::NestedLayers)));
    assert!(String::from_utf8_lossy(&body).contains("give them different namespaces"));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn other_namespace_or_store_is_another_claim() {
    let store = MokaStore::new();
    assert_eq!(send(layer(&store, "outer"), layer(&store, "inner")).await.0, 200);
    assert_eq!(send(layer(&store, "roomz"), layer(&MokaStore::new(), "roomz")).await.0, 200);
}

#[tokio::test]
async fn clone_handles_event_once() {
    let layer = layer(&MokaStore::new(), "roomz");
    assert_eq!(send(layer.clone(), layer).await.0, 200);
}
