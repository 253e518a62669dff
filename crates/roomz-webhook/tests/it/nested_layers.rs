//! Nested layers: one inside the other.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use roomz_webhook::store::MokaStore;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{IdReusePolicy, Rejection, RejectionKind, WebhookBody, WebhookLayer};
use tokio::time::{Duration, Instant, sleep};
use tower::timeout::TimeoutLayer;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::support::secret;

fn layer(store: &MokaStore, namespace: &str) -> WebhookLayer {
    WebhookLayer::builder(secret()).with_store(store.clone()).with_namespace(namespace).build().unwrap()
}

async fn handle(_: Request<WebhookBody>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::default()))
}

/// Sends one event through two layers, and returns the status and the kind of the rejection.
async fn send(outer: WebhookLayer, inner: WebhookLayer) -> (u16, Option<RejectionKind>, Bytes) {
    let service = ServiceBuilder::new().layer(outer).layer(inner).service(service_fn(handle));
    let request = TestEvent::busy().request::<Body>("/", &secret());
    let response = service.oneshot(request).await.unwrap();
    let kind = response.extensions().get::<Rejection>().map(Rejection::kind);
    let status = response.status().as_u16();
    (status, kind, response.into_body().collect().await.unwrap().to_bytes())
}

/// The inner layer would wait for the claim that the outer one holds. It answers at once and names the mistake.
#[tokio::test(start_paused = true)]
async fn rejects_nested_layer_with_same_claim() {
    let (store, start) = (MokaStore::new(), Instant::now());
    let (status, kind, body) = send(layer(&store, "roomz"), layer(&store, "roomz")).await;
    assert_eq!((status, kind), (500, Some(RejectionKind::NestedLayers)));
    assert!(String::from_utf8_lossy(&body).contains("give them different namespaces"));
    assert_eq!(start.elapsed(), Duration::ZERO);
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

/// The clone is not the nearest layer.
#[tokio::test(start_paused = true)]
async fn clone_passes_request_through_third_layer() {
    let store = MokaStore::new();
    let (outer, middle) = (layer(&store, "a"), layer(&store, "b"));
    let service =
        ServiceBuilder::new().layer(outer.clone()).layer(middle).layer(outer).service(service_fn(handle));
    let request = TestEvent::busy().request::<Body>("/", &secret());
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    let service = ServiceBuilder::new()
        .layer(layer(&store, "a"))
        .layer(layer(&store, "b"))
        .layer(layer(&store, "a"))
        .service(service_fn(handle));
    let request = TestEvent::busy().request::<Body>("/", &secret());
    let response = service.oneshot(request).await.unwrap();
    let kind = response.extensions().get::<Rejection>().map(Rejection::kind);
    assert_eq!(kind, Some(RejectionKind::NestedLayers));
}

#[tokio::test(start_paused = true)]
async fn rejects_nested_layer_with_same_claim_by_body() {
    let store = MokaStore::new();
    let layer = || {
        let builder = WebhookLayer::builder(secret()).with_store(store.clone());
        builder.with_id_reuse_policy(IdReusePolicy::Process).build().unwrap()
    };
    assert_eq!(send(layer(), layer()).await.1, Some(RejectionKind::NestedLayers));
}

/// The layers have their own stores. A timeout between them ends the first delivery, and its handler runs on: the next
/// delivery is a duplicate of a running event, not a mistake in the setup.
#[tokio::test(start_paused = true)]
async fn event_in_other_store_is_in_flight() {
    let handler = service_fn(async |request: Request<WebhookBody>| {
        sleep(Duration::from_secs(30)).await;
        handle(request).await
    });
    let service = ServiceBuilder::new()
        .layer(layer(&MokaStore::new(), "roomz"))
        .layer(TimeoutLayer::new(Duration::from_secs(15)))
        .layer(layer(&MokaStore::new(), "roomz"))
        .service(handler);
    let event = TestEvent::busy();
    let request = || event.request::<Body>("/", &secret());
    assert!(service.clone().oneshot(request()).await.is_err(), "the timeout");
    let response = service.oneshot(request()).await.unwrap();
    let kind = response.extensions().get::<Rejection>().map(Rejection::kind);
    assert_eq!(kind, Some(RejectionKind::InFlight));
}
