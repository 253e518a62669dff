//! The span of the handler belongs to the trace of the delivery.

use std::time::Duration;

use axum::body::Body;
use opentelemetry::trace::{SpanId, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, WebhookLayer};
use roomz_inbox::Inbox;
use tower::ServiceExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The trace begins at a proxy: its span is the parent of the delivery, and this one that of the handler.
#[tokio::test]
async fn handler_continues_trace_of_delivery() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    tracing_subscriber::registry().with(layer).init();

    let directory = tempfile::tempdir().unwrap();
    let inbox = Inbox::connect(format!("sqlite://{}/inbox.db", directory.path().display())).await.unwrap();
    let secret = Secret::new("the webhook secret").unwrap();
    let app = opentelemetry_example::app(WebhookLayer::new(secret.clone()), &inbox);
    let mut request = TestEvent::busy().request::<Body>("/webhooks/roomz", &secret);
    let proxy = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.headers_mut().insert("traceparent", proxy.parse().unwrap());
    assert_eq!(app.oneshot(request).await.unwrap().status(), 202);

    // The handler runs after the answer.
    let worker = inbox.worker(tower::service_fn(opentelemetry_example::handle)).start();
    let find = |name: &str| -> Option<SpanData> {
        exporter.get_finished_spans().unwrap().into_iter().find(|span| span.name == name)
    };
    let handled = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            match find("presence") {
                Some(span) => break span,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    let handled = handled.await.expect("the handler runs");
    worker.shutdown(Duration::from_secs(60)).await;
    let delivery = find("delivery").unwrap();
    assert_eq!(delivery.parent_span_id, SpanId::from_hex("b7ad6b7169203331").unwrap());
    assert_eq!(handled.parent_span_id, delivery.span_context.span_id());
    for span in [handled, delivery] {
        assert_eq!(span.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    }
}
