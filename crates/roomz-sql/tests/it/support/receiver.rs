//! The layer around the handler of a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::database::TestDatabase;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{
    Delivery, ResponseBody, Secret, Skipped, WebhookBody, WebhookLayer, WebhookLayerBuilder,
};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer as _, ServiceExt as _, service_fn};

/// A receiver in this process. Its handler is counted.
#[derive(Clone)]
pub(crate) struct Receiver {
    service: BoxCloneSyncService<Request<Full<Bytes>>, Response<ResponseBody<String>>, BoxError>,
    runs: Arc<AtomicUsize>,
}

impl Receiver {
    /// Default settings, with claims in this database. The handler gets a clone of `context`.
    pub(crate) async fn on<C, F>(
        database: &TestDatabase,
        context: &C,
        handler: impl Fn(C, Delivery) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        C: Clone + Send + Sync + 'static,
        F: Future<Output = StatusCode> + Send + 'static,
    {
        let store = database.store().await;
        Self::with(|layer| layer.with_store(store), context, handler)
    }

    /// These settings. The handler gets a clone of `context`.
    pub(crate) fn with<C, F>(
        settings: impl FnOnce(WebhookLayerBuilder) -> WebhookLayerBuilder,
        context: &C,
        handler: impl Fn(C, Delivery) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        C: Clone + Send + Sync + 'static,
        F: Future<Output = StatusCode> + Send + 'static,
    {
        let runs = Arc::new(AtomicUsize::new(0));
        let (counter, context) = (Arc::clone(&runs), context.clone());
        let handler = service_fn(move |request: Request<WebhookBody>| {
            counter.fetch_add(1, Ordering::SeqCst);
            let handled = handler(context.clone(), request.extensions().get::<Delivery>().cloned().unwrap());
            async move {
                let mut response = Response::new(String::new());
                *response.status_mut() = handled.await;
                Ok::<_, BoxError>(response)
            }
        });
        let layer = settings(WebhookLayer::builder(secret())).build().unwrap();
        Self { service: BoxCloneSyncService::new(layer.layer(handler)), runs }
    }

    /// Delivers an event. Returns the status, and whether the delivery was skipped as a duplicate.
    pub(crate) async fn deliver(&self, event: &TestEvent) -> (u16, bool) {
        let response = self.service.clone().oneshot(event.request("/", &secret())).await.unwrap();
        let is_duplicate = response.extensions().get() == Some(&Skipped::Duplicate);
        (response.status().as_u16(), is_duplicate)
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}
