//! No test needs a server.
{{if inbox}}
//! The inbox of the tests is in SQLite.
{{end}}

{{if inbox}}
use std::time::Duration;

{{end}}
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, Skipped, WebhookLayer};
{{if inbox}}
use roomz_inbox::{Event, Inbox, Job};
use tempfile::TempDir;
{{end}}
{{if grpc}}
use tokio_stream::StreamExt as _;
{{end}}
use tower::ServiceExt as _;

{{if !grpc}}
use crate::app::{app, exporter};
{{end}}
{{if grpc}}
use crate::app::{CHANGES, app, exporter};
use crate::grpc::generated::presence_server::Presence as _;
use crate::grpc::{WatchRequest, Watcher};
{{end}}

const PATH: &str = "/webhooks/roomz";

fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}

fn metrics() -> PrometheusHandle {
    exporter().unwrap().build_recorder().handle()
}

/// Returns the answer to a delivery that is signed as ROOMZ signs it, and why no handler ran.
async fn deliver(app: &Router, event: &TestEvent) -> (StatusCode, Option<Skipped>) {
    let request = event.request::<Body>(PATH, &secret());
    let response = app.clone().oneshot(request).await.unwrap();
    (response.status(), response.extensions().get().copied())
}

{{if !inbox}}
/// Creates the application with a store in memory.
async fn receiver(metrics: PrometheusHandle) -> Router {
    app(WebhookLayer::new(secret()), metrics)
}

#[tokio::test]
async fn event_runs_once() {
    let (app, event) = (receiver(metrics()).await, TestEvent::busy());
    assert_eq!(deliver(&app, &event).await, (StatusCode::OK, None));
    let duplicate = (StatusCode::OK, Some(Skipped::Duplicate));
    assert_eq!(deliver(&app, &event).await, duplicate);
}
{{end}}
{{if inbox}}
/// Creates the application with an inbox in a temporary directory.
async fn receiver(metrics: PrometheusHandle) -> (Router, Inbox, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/inbox.db", directory.path().display());
    let inbox = Inbox::connect(url).await.unwrap();
    let app = app(WebhookLayer::new(secret()), metrics, &inbox);
    (app, inbox, directory)
}

#[tokio::test]
async fn event_is_stored_once_and_handled() {
    let (app, inbox, _directory) = receiver(metrics()).await;
    let event = TestEvent::busy();
    assert_eq!(deliver(&app, &event).await, (StatusCode::ACCEPTED, None));
    let duplicate = (StatusCode::OK, Some(Skipped::Duplicate));
    assert_eq!(deliver(&app, &event).await, duplicate);

    let worker = inbox.worker(tower::service_fn(crate::presence)).start();
    let handled = async {
        // One count: between two, a failed event changes from running to waiting.
        while let open = inbox.stats().await.unwrap()
            && open.waiting + open.running > 0
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let handled = tokio::time::timeout(Duration::from_secs(60), handled).await;
    handled.expect("the handler succeeds");
    assert_eq!(inbox.stats().await.unwrap().dead, 0);
    worker.shutdown(Duration::from_secs(60)).await;
}

/// Without a database: `job.{{store}}()` is an error here.
#[tokio::test]
async fn handler_accepts_event() {
    let event = Event::parse(&TestEvent::busy().body()).unwrap();
    let job = Job::for_test(event.typed().unwrap());
    crate::presence(job).await.unwrap();
}
{{end}}

#[tokio::test]
async fn forged_event_is_rejected() {
{{if !inbox}}
    let app = receiver(metrics()).await;
{{end}}
{{if inbox}}
    let (app, _inbox, _directory) = receiver(metrics()).await;
{{end}}
    let request = TestEvent::busy().request::<Body>(PATH, &Secret::new("a guess").unwrap());
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
{{if grpc}}

#[tokio::test]
async fn watching_client_gets_the_change() {
    let watcher = Watcher(CHANGES.clone());
    let watching = watcher.watch(tonic::Request::new(WatchRequest {}));
    let mut changes = watching.await.unwrap().into_inner();
{{end}}
{{if grpc inbox}}
    let event = Event::parse(&TestEvent::busy().body()).unwrap();
    let job = Job::for_test(event.typed().unwrap());
    crate::presence(job).await.unwrap();
{{end}}
{{if grpc !inbox}}
    deliver(&receiver(metrics()).await, &TestEvent::busy()).await;
{{end}}
{{if grpc}}
    assert_eq!(changes.next().await.unwrap().unwrap().status, "Busy");
}
{{end}}

/// `alerts.yml` needs the buckets.
#[tokio::test]
async fn probes_and_metrics_answer() {
    let metrics = exporter().unwrap().install_recorder().unwrap();
{{if !inbox}}
    let app = receiver(metrics).await;
{{end}}
{{if inbox}}
    let (app, _inbox, _directory) = receiver(metrics).await;
{{end}}
    deliver(&app, &TestEvent::busy()).await;
    for (path, part) in [
        ("/readyz", "ready"),
        ("/healthz", "ok"),
        ("/metrics", "roomz_webhook_handling_seconds_bucket"),
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains(part), "{path}");
    }
}
