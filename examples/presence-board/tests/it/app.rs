//! The router, without a socket.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use presence_board::board::Board;
use presence_board::names::Names;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, Timestamp, WebhookLayer, WorkspaceId};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const DESK: &str = "5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5";
const ROOM: &str = "0b3f6f3e-4d0c-4bb7-9a55-3d8a1f7f6a10";

/// The application with one named workspace, `DESK`.
struct TestBoard {
    board: Board,
    app: Router,
}

impl TestBoard {
    fn new() -> Self {
        let names: Names =
            serde_json::from_value(json!({ DESK: { "name": "Desk 1", "floor": "First floor" } })).unwrap();
        let board = Board::new(names);
        let webhook = WebhookLayer::builder(secret()).build().unwrap();
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        Self { board: board.clone(), app: presence_board::app(board, None, webhook, metrics) }
    }

    async fn send(&self, request: Request<Body>) -> Response {
        self.app.clone().oneshot(request).await.unwrap()
    }

    async fn deliver(&self, event: &TestEvent) -> StatusCode {
        self.send(event.request("/webhooks/roomz", &secret())).await.status()
    }

    async fn deliver_forged(&self) -> StatusCode {
        let wrong_secret = Secret::new("a wrong secret").unwrap();
        self.send(TestEvent::free().request("/webhooks/roomz", &wrong_secret)).await.status()
    }

    async fn get(&self, path: &str) -> Response {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// The body of a response with status 200.
    async fn text(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    /// Status and since of a workspace, from `/api/presence`.
    async fn presence_of(&self, id: &str) -> (Value, Value) {
        let all = self.json("/api/presence").await;
        let workspace = all["workspaces"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap();
        (workspace["status"].clone(), workspace["since"].clone())
    }

    async fn events(&self) -> EventStream {
        let response = self.get("/events").await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        EventStream(response.into_body())
    }
}

/// An open response of `/events`.
struct EventStream(Body);

impl EventStream {
    /// The name and the data of the next message; `None` at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        let frame = self.0.frame().await?.unwrap().into_data().unwrap();
        let text = String::from_utf8(frame.to_vec()).unwrap();
        let (name, data) = text.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        Some((name.to_owned(), serde_json::from_str(data).unwrap_or_default()))
    }
}

fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}

fn change(id: &str, second: i64, status: &str) -> TestEvent {
    let workspace: WorkspaceId = id.parse().unwrap();
    let timestamp = Timestamp::from_second(second).unwrap();
    TestEvent::presence(status).with_workspace_id(workspace).with_timestamp(timestamp)
}

/// A workspace without a name appears with its first event, after the named ones.
#[tokio::test]
async fn lists_named_workspaces_before_their_first_event() {
    let board = TestBoard::new();
    let desk = json!({ "id": DESK, "name": "Desk 1", "floor": "First floor", "status": null, "since": null });
    assert_eq!(board.json("/api/presence").await, json!({ "workspaces": [desk] }));

    board.deliver(&change(ROOM, 0, "busy")).await;
    let all = board.json("/api/presence").await;
    let room =
        json!({ "id": ROOM, "name": null, "floor": null, "status": "Busy", "since": "1970-01-01T00:00:00Z" });
    assert_eq!(all["workspaces"][1], room);
}

#[tokio::test]
async fn counts_late_events_without_showing_them() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [3, 1, 2]] {
        let board = TestBoard::new();
        for second in order {
            let status = if second == 3 { "Free" } else { "Busy" };
            assert_eq!(board.deliver(&change(DESK, second, status)).await, 200);
        }
        assert_eq!(
            board.presence_of(DESK).await,
            (json!("Free"), json!("1970-01-01T00:00:03Z")),
            "{order:?}"
        );
        let newer = order
            .iter()
            .enumerate()
            .filter(|&(at, second)| order[..at].iter().all(|earlier| earlier < second));
        let late = 3 - newer.count();
        let stats = board.json("/api/stats").await;
        assert_eq!((&stats["handled"], &stats["late"]), (&json!(3), &json!(late)), "{order:?}");
    }
}

#[tokio::test]
async fn counts_every_outcome() {
    let board = TestBoard::new();
    let event = change(DESK, 1, "Busy");
    assert_eq!(board.deliver(&event).await, 200);
    assert_eq!(board.deliver(&event).await, 200);
    assert_eq!(board.deliver(&TestEvent::busy().with_type("workspace.booked")).await, 200);
    assert_eq!(board.deliver(&TestEvent::busy().with("data", json!({}))).await, 200);
    assert_eq!(board.deliver_forged().await, 401);
    assert_eq!(board.deliver_forged().await, 401);
    assert_eq!(board.deliver(&TestEvent::busy().without("id")).await, 400);
    assert_eq!(board.send(Request::post("/webhooks/roomz").body(Body::empty()).unwrap()).await.status(), 401);
    assert_eq!(board.get("/webhooks/roomz").await.status(), 405);
    let mut stats = board.json("/api/stats").await;
    let last_delivery = stats["last_delivery_at"].take();
    assert!(last_delivery.as_str().unwrap().parse::<Timestamp>().is_ok(), "{last_delivery}");
    assert_eq!(
        stats,
        json!({
            "handled": 3, "duplicates": 1, "late": 0, "unknown": 2, "last_delivery_at": null,
            "rejected": {
                "signature-mismatch": 2, "event-malformed": 1, "signature-missing": 1, "method-not-allowed": 1
            }
        })
    );
}

/// Anybody can send forged requests, so they do not prove that ROOMZ still delivers.
#[tokio::test]
async fn last_delivery_excludes_rejections() {
    let board = TestBoard::new();
    board.deliver_forged().await;
    assert_eq!(board.json("/api/stats").await["last_delivery_at"], Value::Null);
    board.deliver(&change(DESK, 1, "Busy")).await;
    let last = board.json("/api/stats").await["last_delivery_at"].take();
    board.deliver_forged().await;
    assert_eq!(board.json("/api/stats").await["last_delivery_at"], last);
}

#[tokio::test]
async fn streams_snapshot_then_deliveries() {
    let board = TestBoard::new();
    board.deliver(&change(DESK, 1, "Busy")).await;
    let mut events = board.events().await;
    let (name, snapshot) = events.next().await.unwrap();
    assert_eq!(name, "snapshot");
    assert_eq!(snapshot["workspaces"][0]["status"], "Busy");
    assert_eq!(snapshot["stats"]["handled"], 1);
    assert_eq!(snapshot["recent"][0]["outcome"], "changed");
    assert!(snapshot["now"].as_str().unwrap().parse::<Timestamp>().is_ok());

    board.deliver(&change(DESK, 3, "Free")).await;
    board.deliver(&change(DESK, 2, "Busy")).await;
    board.deliver_forged().await;
    let (name, update) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &update["workspace"]["status"]), ("delivery", &json!("Free")));
    assert_eq!((&update["delivery"]["outcome"], &update["stats"]["handled"]), (&json!("changed"), &json!(2)));
    let (_, update) = events.next().await.unwrap();
    assert_eq!(
        (&update["delivery"]["outcome"], &update["workspace"]["status"]),
        (&json!("late"), &json!("Free"))
    );
    let (_, update) = events.next().await.unwrap();
    assert_eq!(
        (&update["delivery"]["outcome"], &update["delivery"]["detail"]),
        (&json!("rejected"), &json!("signature-mismatch"))
    );
    assert_eq!((&update["delivery"]["number"], &update["workspace"]), (&json!(4), &Value::Null));
}

/// In a paused runtime the test does not wait for the delay before the new snapshot.
#[tokio::test(start_paused = true)]
async fn lagging_subscriber_gets_new_snapshot() {
    let board = TestBoard::new();
    let mut events = board.events().await;
    events.next().await.unwrap();
    for second in 0..1_000 {
        board.deliver(&change(DESK, second, if second % 2 == 0 { "Busy" } else { "Free" })).await;
    }
    let (name, snapshot) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &snapshot["stats"]["handled"]), ("snapshot", &json!(1_000)));
    assert_eq!(snapshot["workspaces"][0]["since"], "1970-01-01T00:16:39Z");
    assert_eq!(snapshot["recent"].as_array().unwrap().len(), 50);

    board.deliver(&change(DESK, 1_000, "Busy")).await;
    let (name, update) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &update["delivery"]["number"]), ("delivery", &json!(1_001)));
}

#[tokio::test(start_paused = true)]
async fn sends_heartbeat_with_time_every_three_seconds() {
    let board = TestBoard::new();
    let mut events = board.events().await;
    events.next().await.unwrap();
    for _ in 0..3 {
        let start = tokio::time::Instant::now();
        let (name, heartbeat) = events.next().await.unwrap();
        assert_eq!((name.as_str(), start.elapsed().as_secs()), ("heartbeat", 3));
        assert!(heartbeat["now"].as_str().unwrap().parse::<Timestamp>().is_ok(), "{heartbeat}");
    }
}

#[tokio::test]
async fn closed_board_ends_streams_and_takes_deliveries() {
    let board = TestBoard::new();
    let mut events = board.events().await;
    events.next().await.unwrap();
    board.board.close();
    assert_eq!(events.next().await, None);
    assert_eq!(board.events().await.next().await, None);
    assert_eq!(board.deliver(&change(DESK, 1, "Busy")).await, 200);
    assert_eq!(board.presence_of(DESK).await.0, "Busy");
}

/// Anybody can send forged requests; they must not push signed deliveries out of the list.
#[tokio::test]
async fn repeated_rejections_share_one_record() {
    let board = TestBoard::new();
    board.deliver(&change(DESK, 1, "Busy")).await;
    for _ in 0..1_000 {
        board.deliver_forged().await;
    }
    let (_, snapshot) = board.events().await.next().await.unwrap();
    let recent = snapshot["recent"].as_array().unwrap();
    let records: Vec<_> = recent.iter().map(|one| (&one["outcome"], &one["count"])).collect();
    assert_eq!(records, [(&json!("changed"), &json!(1)), (&json!("rejected"), &json!(1_000))]);
    assert_eq!(snapshot["stats"]["rejected"]["signature-mismatch"], 1_000);
}

/// A status or type from an event contains no control characters and is never markup in a response: only
/// JSON.
#[tokio::test]
async fn escapes_and_truncates_untrusted_text() {
    let board = TestBoard::new();
    let markup = "<img src=x onerror=alert(1)>";
    board.deliver(&change(DESK, 1, markup)).await;
    assert_eq!(board.presence_of(DESK).await.0, markup);
    board.deliver(&change(DESK, 2, "A\u{1b}[2J\u{202e}\n\n event: snapshot")).await;
    let shown = board.presence_of(DESK).await.0;
    assert_eq!(shown, r"A\u{1b}[2J\u{202e}\n\n event: snapshot");
    board.deliver(&change(DESK, 3, &"x".repeat(100_000))).await;
    assert!(board.presence_of(DESK).await.0.as_str().unwrap().len() < 100);
    board.deliver(&TestEvent::busy().with_type("</script><script>alert(1)</script>")).await;
    let (name, snapshot) = board.events().await.next().await.unwrap();
    assert_eq!((name.as_str(), snapshot["recent"].as_array().unwrap().len()), ("snapshot", 4));
    assert_eq!(snapshot["recent"][3]["detail"], "</script><script>alert(1)</script>");
}

#[tokio::test]
async fn page_loads_its_own_files_only() {
    let board = TestBoard::new();
    // A status is a text from outside. It does not end the script that holds the snapshot.
    board.deliver(&change(DESK, 0, "</script><b>")).await;
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/support.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/views.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let response = board.get(path).await;
        let headers = response.headers();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(headers[header::CONTENT_TYPE], content_type);
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert!(
            !policy.contains("unsafe") && policy.contains("require-trusted-types-for 'script'"),
            "{policy}"
        );
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
    let html = board.text("/").await;
    for inline in ["<style", "style=", "onclick", "onload", "javascript:", "http:", "https:", "<b>"] {
        assert!(!html.contains(inline), "{inline}");
    }
    let (_, snapshot) = html.split_once(r#"id="snapshot">"#).unwrap();
    let snapshot: Value = serde_json::from_str(snapshot.split_once("</script>").unwrap().0).unwrap();
    assert_eq!(snapshot["workspaces"][0]["status"], "</script><b>");
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/page")).unwrap();
    for file in files.map(|file| file.unwrap().file_name().into_string().unwrap()) {
        if file.ends_with(".js") {
            let script = board.text(&format!("/{file}")).await;
            let markup =
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"];
            assert!(markup.iter().all(|markup| !script.contains(markup)), "{file}");
        }
    }
}

#[tokio::test]
async fn answers_health_metrics_and_unknown_paths() {
    let board = TestBoard::new();
    assert_eq!(board.text("/healthz").await, "ok\n");
    assert_eq!(
        board.get("/metrics").await.headers()[header::CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(board.get("/nothing").await.status(), 404);
}

/// Each signed delivery is found by its event and by its workspace, with its sender, answer and attempt.
#[tokio::test]
async fn finds_signed_deliveries() {
    let board = TestBoard::new();
    let id = "0198e1c2-7a3b-7c4d-8e5f-60718293a4b5";
    let event = change(DESK, 0, "busy").with_id(id.parse().unwrap());
    for from in ["203.0.113.9, 10.0.0.5", "10.0.0.6"] {
        let mut request = event.request("/webhooks/roomz", &secret());
        request.headers_mut().insert("x-forwarded-for", from.parse().unwrap());
        assert_eq!(board.send(request).await.status(), 200);
    }
    board.deliver(&change(ROOM, 0, "free")).await;
    board.deliver_forged().await;

    let found = async |search: &str| {
        let found = board.json(&format!("/api/deliveries?search={search}")).await;
        let one = |one: &Value| {
            (one["outcome"].clone(), one["status"].clone(), one["attempt"].clone(), one["from"].clone())
        };
        found.as_array().unwrap().iter().map(one).collect::<Vec<_>>()
    };
    let first = (json!("handled"), json!(200), json!(1), json!("10.0.0.5"));
    let second = (json!("duplicate"), json!(200), json!(2), json!("10.0.0.6"));
    for search in [id, &id.to_uppercase(), &id[..8], DESK, "desk", "%20Desk%201"] {
        assert_eq!(found(search).await, [second.clone(), first.clone()], "{search}");
    }
    assert_eq!(found(ROOM).await, [(json!("handled"), json!(200), json!(1), json!(null))]);
    assert!(found("no-such-event").await.is_empty());
    // Forged ones are not kept: they would push signed ones out.
    assert_eq!(found("").await.len(), 3);
}
