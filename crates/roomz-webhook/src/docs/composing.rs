//! Two handlers, middleware, concurrency limits, timeouts and task-locals around the layer.
//!
//! **Two handlers for the same events** need two layers with different namespaces. With one cloned layer, the
//! second handler would see every event as a duplicate. The same holds for **two subscriptions with different
//! secrets** on one store: with one namespace, each could mark the other's ids as handled.
//!
//! ```
//! use axum::{Router, routing::post};
//! use roomz_webhook::{Secret, WebhookLayer, store::MokaStore};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret = Secret::new("the webhook secret")?;
//! # async fn draw() {}
//! # async fn count() {}
//! let store = MokaStore::new();
//! let layer = |namespace| {
//!     WebhookLayer::builder(secret.clone()).with_store(store.clone()).with_namespace(namespace).build()
//! };
//! let app: Router = Router::new()
//!     .route("/webhooks/floor-plan", post(draw).layer(layer("floor-plan")?))
//!     .route("/webhooks/statistics", post(count).layer(layer("statistics")?));
//! # drop(app);
//! # Ok(())
//! # }
//! ```
//!
//! **Do not nest layers that share a store and a namespace.** The inner layer waits for the claim of the
//! outer one and answers 503 after 10 s with the reason `in-flight`. A clone directly inside its original
//! passes the request through.
//!
//! **Put middleware that can change the outcome inside the layer**, such as one that commits a transaction. A
//! middleware outside the layer commits after the event was completed: if the commit fails, the event is
//! lost. Inside the layer, return an error status when the commit fails; the event is then released.
//!
//! ```
//! use axum::middleware::{self, Next};
//! use axum::{Router, extract::Request, response::Response, routing::post};
//! use roomz_webhook::{Secret, WebhookLayer};
//!
//! async fn transaction(request: Request, next: Next) -> Response {
//!     // Begin. Then commit if the response is a success, and return an error status if the commit fails.
//!     next.run(request).await
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # async fn handler() {}
//! let webhook = WebhookLayer::new(Secret::new("the webhook secret")?);
//! let route = post(handler).route_layer(middleware::from_fn(transaction)).layer(webhook);
//! let app: Router = Router::new().route("/webhooks/roomz", route);
//! # drop(app);
//! # Ok(())
//! # }
//! ```
//!
//! **Limit running handlers** with tower's `GlobalConcurrencyLimitLayer` *inside* the layer: it also counts
//! handlers whose client disconnected, and a limit outside does not. `ConcurrencyLimitLayer` creates a
//! separate limit each time it is applied: in axum 0.8.9 for each route, and on a router for each connection.
//! An event above the limit is claimed and waits for a running handler to end, without a timeout; duplicates
//! of handled events are answered at once. With `load_shed` between the two layers the service fails instead,
//! and the event is released.
//!
//! ```
//! use http::{Request, Response};
//! use roomz_webhook::{Secret, WebhookBody, WebhookLayer};
//! use tower::{BoxError, ServiceBuilder, limit::GlobalConcurrencyLimitLayer, service_fn};
//!
//! # fn main() -> Result<(), BoxError> {
//! # async fn handle(_: Request<WebhookBody>) -> Result<Response<String>, BoxError> { Ok(Response::new(String::new())) }
//! let service = ServiceBuilder::new()
//!     .layer(WebhookLayer::new(Secret::new("the webhook secret")?))
//!     .layer(GlobalConcurrencyLimitLayer::new(50))
//!     .service(service_fn(handle));
//! # drop(service);
//! # Ok(())
//! # }
//! ```
//!
//! **A timeout outside the layer** answers the request, but the handler keeps running. A timeout inside the
//! layer cancels the handler, and the event is released.
//!
//! **Task-locals of a middleware outside the layer are gone after a disconnect**, because the handler then
//! goes on in another task. Pass values in the request's extensions, or set the task-local in a middleware
//! inside the layer. The current [`tracing`] span is kept. Poll the future of the layer until it ends, or
//! drop it: while nobody polls it, the handler stands still and its lease is not renewed.
//!
//! # tonic
//!
//! Serve the gRPC routes and the webhook with `axum::serve` and axum's features `http1` and `http2`, as the
//! example `tonic` does. tonic's own server (0.14.9) rejects HTTP/1.1 without `accept_http1(true)`, and
//! answers a delivery 200 with `grpc-status: 1` when `Server::timeout`, or the time in a request header
//! `grpc-timeout`, is over: ROOMZ counts a success, also if the handler then fails. Its routes answer unknown
//! paths with 200 and `grpc-status: 12`, so a mistyped path needs the 404 fallback.
//!
//! ```
//! use axum::{Router, http::StatusCode, routing::post};
//! use roomz_webhook::{Secret, WebhookLayer};
//!
//! # async fn handler() {}
//! // `grpc`: tonic::service::Routes::new(service).into_axum_router()
//! fn app(grpc: Router, webhook: WebhookLayer) -> Router {
//!     grpc.route("/webhooks/roomz", post(handler).layer(webhook)).fallback(async || StatusCode::NOT_FOUND)
//! }
//! # let webhook = WebhookLayer::new(Secret::new("the webhook secret").unwrap());
//! # let app = app(Router::new(), webhook);
//! # let _ = async |listener: tokio::net::TcpListener| axum::serve(listener, app).await;
//! ```
