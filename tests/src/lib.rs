//! What the whole-stack tests share: a receiver whose store is watched and can be broken, and ways to deliver to it.
//! For faults under load: receivers in processes of their own, a sender, and a network that breaks.

#![allow(
    clippy::exhaustive_structs,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::panic,
    clippy::unwrap_used,
    reason = "support of tests: not a public API"
)]

pub mod fleet;
pub mod proxy;
pub mod sender;
mod servers;
mod spy;
mod wire;

/// The examples of the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use roomz_protocol::Timestamp;
use roomz_webhook::store::MokaStore;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{
    Clock, Delivery, Rejection, ResponseBody, Secret, Skipped, WebhookBody, WebhookLayer, WebhookLayerBuilder,
};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer as _, ServiceExt as _, service_fn};

pub use self::servers::{Server, left_out, postgres_url, redis_url};
pub use self::spy::{Fault, Op, SpyStore};
pub use self::wire::Wire;

/// A clock that is moved with tokio's: a paused runtime moves leases and time-outs together.
#[derive(Debug)]
pub struct TokioClock {
    start: tokio::time::Instant,
    calendar: Timestamp,
}

impl TokioClock {
    /// Starts now, at the calendar's present time.
    pub fn new() -> Self {
        Self { start: tokio::time::Instant::now(), calendar: Timestamp::now() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.calendar + self.start.elapsed()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The secret of every test.
pub fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}

/// What a receiver answered.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub text: String,
    /// From the extensions.
    pub refusal: Option<Rejection>,
    /// From the extensions.
    pub skipped: Option<Skipped>,
}

impl Answered {
    /// The member `reason` of a problem, or nothing.
    pub fn reason(&self) -> Option<String> {
        let json: serde_json::Value = serde_json::from_str(&self.text).ok()?;
        Some(json.get("reason")?.as_str()?.to_owned())
    }

    /// Status and reason or skipping, for comparing.
    pub fn short(&self) -> (u16, String) {
        let why = self.reason().or_else(|| Some(self.skipped?.to_string())).unwrap_or_default();
        (self.status.as_u16(), why)
    }
}

/// Any service that takes deliveries.
pub type App = BoxCloneSyncService<Request<Body>, Response<ResponseBody<Full<Bytes>>>, BoxError>;

/// A receiver in memory, with a store that is watched.
#[derive(Clone)]
pub struct Rig {
    /// The layer.
    pub layer: WebhookLayer,
    /// Its store.
    pub store: SpyStore,
    /// How often the handler was started.
    pub runs: Arc<AtomicUsize>,
    app: App,
}

impl Rig {
    /// A receiver with default settings whose handler answers 200.
    pub fn new() -> Self {
        Self::with(|builder| builder, async |_| Ok(StatusCode::OK))
    }

    /// A receiver with default settings and this handler.
    pub fn handling<H, F>(handler: H) -> Self
    where
        H: Fn(Delivery) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<StatusCode, BoxError>> + Send + 'static,
    {
        Self::with(|builder| builder, handler)
    }

    /// A receiver with these settings and this handler.
    pub fn with<H, F>(settings: impl FnOnce(WebhookLayerBuilder) -> WebhookLayerBuilder, handler: H) -> Self
    where
        H: Fn(Delivery) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<StatusCode, BoxError>> + Send + 'static,
    {
        let clock = TokioClock::new();
        let store = SpyStore::new(MokaStore::builder().with_clock(TokioClock::new()).build());
        let builder = WebhookLayer::builder(secret()).with_store(store.clone()).with_clock(clock);
        let layer = settings(builder).build().unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&runs);
        let service = service_fn(move |request: Request<WebhookBody>| {
            let (handler, counter) = (handler.clone(), Arc::clone(&counter));
            async move {
                counter.fetch_add(1, Ordering::SeqCst);
                let delivery = request.extensions().get::<Delivery>().cloned().unwrap();
                let body = request.into_body().collect().await?.to_bytes();
                assert_eq!(&body, delivery.body(), "the service gets the bytes that were signed");
                let mut response = Response::new(Full::from("handled"));
                *response.status_mut() = handler(delivery).await?;
                Ok::<_, BoxError>(response)
            }
        });
        let app = BoxCloneSyncService::new(layer.layer(service));
        Self { layer, store, runs, app }
    }

    /// The receiver as a service.
    pub fn app(&self) -> App {
        self.app.clone()
    }

    /// How often the handler was started.
    pub fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    /// Sends a request and reads the whole answer; errors of the service come through.
    pub async fn try_send(&self, request: Request<Body>) -> Result<Answered, BoxError> {
        answered(self.app.clone().oneshot(request).await?).await
    }

    /// The same where the service does not fail.
    pub async fn send(&self, request: Request<Body>) -> Answered {
        self.try_send(request).await.unwrap()
    }

    /// Delivers an event, rightly signed.
    pub async fn deliver(&self, event: &TestEvent) -> Answered {
        self.send(event.request("/webhooks/roomz", &secret())).await
    }

    /// Delivers a body, rightly signed.
    pub async fn deliver_body(&self, body: &[u8]) -> Answered {
        self.send(roomz_protocol::testing::signed_request("/", body.to_vec(), &secret())).await
    }
}

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rig").field("layer", &self.layer).finish_non_exhaustive()
    }
}

async fn answered(response: Response<ResponseBody<Full<Bytes>>>) -> Result<Answered, BoxError> {
    let (head, body) = response.into_parts();
    let text = body.collect().await.map_err(|never: Infallible| match never {})?.to_bytes();
    Ok(Answered {
        status: head.status,
        refusal: head.extensions.get().cloned(),
        skipped: head.extensions.get().copied(),
        headers: head.headers,
        text: String::from_utf8(text.to_vec())?,
    })
}

/// Waits until something is so, letting other tasks run; for what happens in the background.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if is_so() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("never: {what}");
}
