use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use roomz_webhook::store::MokaStore;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{
    Delivery, Rejection, ResponseBody, Skipped, WebhookBody, WebhookLayer, WebhookLayerBuilder,
};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer as _, Service, ServiceExt as _, service_fn};

use super::{FaultyStore, TokioClock, secret};

/// The layer around the handler of a test, without their types.
pub(crate) type TestService =
    BoxCloneSyncService<Request<Body>, Response<ResponseBody<Full<Bytes>>>, BoxError>;

/// A receiver in memory: the layer, a [`FaultyStore`], and a handler that is counted.
#[derive(Clone)]
pub(crate) struct TestReceiver {
    pub(crate) layer: WebhookLayer,
    pub(crate) store: FaultyStore,
    runs: Arc<AtomicUsize>,
    service: TestService,
}

impl TestReceiver {
    /// Default settings, and a handler that returns 200.
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder, async |_| Ok(StatusCode::OK))
    }

    /// Default settings, and this handler.
    pub(crate) fn with_handler<H, F>(handler: H) -> Self
    where
        H: Fn(Delivery) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<StatusCode, BoxError>> + Send + 'static,
    {
        Self::with(|builder| builder, handler)
    }

    /// These settings, and this handler.
    pub(crate) fn with<H, F>(
        settings: impl FnOnce(WebhookLayerBuilder) -> WebhookLayerBuilder,
        handler: H,
    ) -> Self
    where
        H: Fn(Delivery) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<StatusCode, BoxError>> + Send + 'static,
    {
        let (store, builder) = store_and_builder();
        Self::with_layer(settings(builder).build().unwrap(), store, handler)
    }

    /// These settings, and this handler behind a limit of one at a time.
    pub(crate) fn one_at_a_time<H, F>(
        settings: impl FnOnce(WebhookLayerBuilder) -> WebhookLayerBuilder,
        handler: H,
    ) -> Self
    where
        H: Fn(Delivery) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<StatusCode, BoxError>> + Send + 'static,
    {
        let ((store, builder), runs) = (store_and_builder(), Arc::default());
        let layer = settings(builder).build().unwrap();
        let limited = GlobalConcurrencyLimitLayer::new(1).layer(handler_service(handler, &runs));
        let service = BoxCloneSyncService::new(layer.layer(limited));
        Self { layer, store, runs, service }
    }

    /// This layer, and this handler.
    pub(crate) fn with_layer<H, F>(layer: WebhookLayer, store: FaultyStore, handler: H) -> Self
    where
        H: Fn(Delivery) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<StatusCode, BoxError>> + Send + 'static,
    {
        let runs = Arc::default();
        let service = BoxCloneSyncService::new(layer.layer(handler_service(handler, &runs)));
        Self { layer, store, runs, service }
    }

    pub(crate) fn service(&self) -> TestService {
        self.service.clone()
    }

    /// How often the handler was started.
    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    /// Sends a request and reads the response to its end. An error of the handler is returned.
    pub(crate) async fn try_send(&self, request: Request<Body>) -> Result<TestResponse, BoxError> {
        TestResponse::read(self.service().oneshot(request).await?).await
    }

    /// Like [`try_send`](Self::try_send), for a handler that returns no error.
    pub(crate) async fn send(&self, request: Request<Body>) -> TestResponse {
        self.try_send(request).await.unwrap()
    }

    /// Sends an event with a valid signature.
    pub(crate) async fn deliver(&self, event: &TestEvent) -> TestResponse {
        self.send(event.request("/webhooks/roomz", &secret())).await
    }

    /// Sends a body with a valid signature.
    pub(crate) async fn deliver_body(&self, body: &[u8]) -> TestResponse {
        self.send(roomz_protocol::testing::signed_request("/", body.to_vec(), &secret())).await
    }
}

fn store_and_builder() -> (FaultyStore, WebhookLayerBuilder) {
    let store = FaultyStore::new(MokaStore::builder().with_clock(TokioClock::new()).build());
    let builder = WebhookLayer::builder(secret()).with_store(store.clone()).with_clock(TokioClock::new());
    (store, builder)
}

/// A service that calls the handler and counts its runs.
fn handler_service<H, F>(
    handler: H,
    runs: &Arc<AtomicUsize>,
) -> impl Service<Request<WebhookBody>, Response = Response<Full<Bytes>>, Error = BoxError, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static
where
    H: Fn(Delivery) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<StatusCode, BoxError>> + Send + 'static,
{
    let counter = Arc::clone(runs);
    service_fn(move |request: Request<WebhookBody>| {
        let (handler, counter) = (handler.clone(), Arc::clone(&counter));
        async move {
            counter.fetch_add(1, Ordering::SeqCst);
            let delivery = request.extensions().get::<Delivery>().cloned().unwrap();
            let mut body = request.into_body();
            assert_eq!(body.size_hint().exact(), Some(delivery.body().len() as u64));
            let data = body.frame().await.unwrap()?.into_data().unwrap();
            assert_eq!(&data, delivery.body(), "the handler receives the signed bytes");
            assert!(body.is_end_stream());
            let mut response = Response::new(Full::from("handled"));
            *response.status_mut() = handler(delivery).await?;
            Ok::<_, BoxError>(response)
        }
    })
}

impl std::fmt::Debug for TestReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestReceiver").field("layer", &self.layer).finish_non_exhaustive()
    }
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct TestResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// From the extensions.
    pub(crate) rejection: Option<Rejection>,
    /// From the extensions.
    pub(crate) skipped: Option<Skipped>,
}

impl TestResponse {
    async fn read(response: Response<ResponseBody<Full<Bytes>>>) -> Result<Self, BoxError> {
        let (head, mut body) = response.into_parts();
        let length = body.size_hint().exact().unwrap();
        assert!(!body.is_end_stream());
        let data = body.frame().await.unwrap().unwrap_or_else(|never: Infallible| match never {});
        assert!(body.is_end_stream());
        let body = data.into_data().unwrap();
        assert_eq!(body.len() as u64, length);
        Ok(Self {
            status: head.status,
            rejection: head.extensions.get().cloned(),
            skipped: head.extensions.get().copied(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec())?,
        })
    }

    /// The member `reason` of a problem document.
    fn reason(&self) -> Option<String> {
        let json: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        Some(json.get("reason")?.as_str()?.to_owned())
    }

    /// The status, and why the event was rejected or skipped: empty if it was handled.
    pub(crate) fn outcome(&self) -> (u16, String) {
        let reason = self.reason().or_else(|| Some(self.skipped?.as_str().to_owned())).unwrap_or_default();
        (self.status.as_u16(), reason)
    }
}
