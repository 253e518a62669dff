//! One trace for each delivery: the span of the request, and that of the handler, which runs later.

use std::collections::HashMap;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::post_service;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use roomz_axum::{WebhookLayer, WorkspacePresenceChanged};
use roomz_inbox::{BoxError, Inbox, Job};
use tracing::{Instrument as _, info, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Runs a request in a span, as a child of its `traceparent`, and replaces this header: the inbox stores it,
/// so the span becomes the parent of the handler's span.
async fn trace(mut request: Request, next: Next) -> Response {
    let (span, propagator) = (info_span!("delivery", otel.kind = "server"), TraceContextPropagator::new());
    // Fails if the span has begun, or nothing collects it.
    let _ = span.set_parent(propagator.extract(&HeaderExtractor(request.headers())));
    propagator.inject_context(&span.context(), &mut HeaderInjector(request.headers_mut()));
    next.run(request).instrument(span).await
}

/// Handles one event in a span of the trace of its delivery.
pub async fn handle(job: Job<WorkspacePresenceChanged>) -> Result<(), BoxError> {
    let span = info_span!("presence", attempt = job.attempt(), otel.kind = "consumer");
    let parent: HashMap<_, _> =
        job.traceparent().map(|parent| ("traceparent".to_owned(), parent.to_owned())).into_iter().collect();
    let _ = span.set_parent(TraceContextPropagator::new().extract(&parent));
    async move {
        info!(id = %job.event().id, status = %job.event().data.presence_status, "handled");
        Ok(())
    }
    .instrument(span)
    .await
}

/// Creates the application. The span is outside of the webhook layer, so that it also has the rejections.
pub fn app(webhook: WebhookLayer, inbox: &Inbox) -> Router {
    let endpoint = post_service(inbox.endpoint()).layer(webhook);
    Router::new().route("/webhooks/roomz", endpoint).layer(from_fn(trace))
}
