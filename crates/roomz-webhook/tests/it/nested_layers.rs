//! Nested layers: one inside the other.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use roomz_webhook::store::MokaStore;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Rejection, RejectionKind, Skipped, WebhookBody, WebhookLayer};
use tokio::time::{Duration, Instant, sleep, timeout};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::support::secret;

fn layer(store: &MokaStore, namespace: &str) -> WebhookLayer {
    WebhookLayer::builder(secret()).with_store(store.clone()).with_namespace(namespace).build().unwrap()
}

async fn handle(_: Request<WebhookBody>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::default()))
}

/// Sends one event through two layers, and returns the status and the kind of the rejection.
async fn send(outer: WebhookLayer, inner: WebhookLayer) -> (u16, Option<RejectionKind>) {
    let service = ServiceBuilder::new().layer(outer).layer(inner).service(service_fn(handle));
    let request = TestEvent::busy().request::<Body>("/", &secret());
    let response = service.oneshot(request).await.unwrap();
    let kind = response.extensions().get::<Rejection>().map(Rejection::kind);
    (response.status().as_u16(), kind)
}

/// The inner layer waits for the claim that the outer one holds.
#[tokio::test(start_paused = true)]
async fn nested_layer_with_same_claim_is_503() {
    let (store, start) = (MokaStore::new(), Instant::now());
    let (status, kind) = send(layer(&store, "roomz"), layer(&store, "roomz")).await;
    assert_eq!((status, kind), (503, Some(RejectionKind::InFlight)));
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

#[tokio::test]
async fn nests_layers_with_other_namespace_or_store() {
    let store = MokaStore::new();
    assert_eq!(send(layer(&store, "outer"), layer(&store, "inner")).await.0, 200);
    assert_eq!(send(layer(&store, "roomz"), layer(&MokaStore::new(), "roomz")).await.0, 200);
}

#[tokio::test]
async fn clone_passes_request_through() {
    let layer = layer(&MokaStore::new(), "roomz");
    assert_eq!(send(layer.clone(), layer).await.0, 200);
}

/// A disconnect drops the future of the outer layer, which drops that of the inner one.
#[tokio::test(start_paused = true)]
async fn both_layers_finish_after_disconnect() {
    let store = MokaStore::new();
    let handler = service_fn(async |request| {
        sleep(Duration::from_secs(1)).await;
        handle(request).await
    });
    let layers = ServiceBuilder::new().layer(layer(&store, "outer")).layer(layer(&store, "inner"));
    let (service, event) = (layers.service(handler), TestEvent::busy());
    let deliver = || service.clone().oneshot(event.request::<Body>("/", &secret()));
    assert!(timeout(Duration::from_millis(100), deliver()).await.is_err());
    sleep(Duration::from_secs(1)).await;
    let response = deliver().await.unwrap();
    assert_eq!(response.extensions().get(), Some(&Skipped::Duplicate));
}
