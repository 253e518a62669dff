//! The routes, without a socket.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use presence_board::board::Board;
use presence_board::names::Names;
use roomz_axum::Event;
use roomz_axum::roomz_webhook::roomz_protocol::Uuid;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, Timestamp, WebhookLayer, WorkspaceId};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const DESK: &str = "5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5";
const ROOM: &str = "0b3f6f3e-4d0c-4bb7-9a55-3d8a1f7f6a10";

/// The application, and what a test does with it.
#[derive(Clone)]
struct Rig {
    board: Board,
    app: Router,
}

impl Rig {
    fn new() -> Self {
        let names: Names =
            serde_json::from_value(json!({ DESK: { "name": "Desk 1", "floor": "First floor" } })).unwrap();
        let board = Board::new(names);
        let webhook = WebhookLayer::builder(secret()).build().unwrap();
        let figures = PrometheusBuilder::new().build_recorder().handle();
        Self { board: board.clone(), app: presence_board::app(board, webhook, figures) }
    }

    async fn send(&self, request: Request<Body>) -> Response {
        self.app.clone().oneshot(request).await.unwrap()
    }

    async fn deliver(&self, event: &TestEvent) -> StatusCode {
        self.send(event.request("/webhooks/roomz", &secret())).await.status()
    }

    async fn forge(&self) -> StatusCode {
        let forger = Secret::new("a guess").unwrap();
        self.send(TestEvent::free().request("/webhooks/roomz", &forger)).await.status()
    }

    async fn get(&self, path: &str) -> Response {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn text(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    /// What `/api/presence` says of a workspace: status and since.
    async fn presence(&self, id: &str) -> (Value, Value) {
        let all = self.json("/api/presence").await;
        let workspace = all["workspaces"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap();
        (workspace["status"].clone(), workspace["since"].clone())
    }

    async fn events(&self) -> Events {
        let response = self.get("/events").await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Events(response.into_body())
    }
}

/// An open stream of events.
struct Events(Body);

impl Events {
    /// The next event's name and data. `None` at the end.
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

#[tokio::test]
async fn a_named_workspace_is_there_before_its_first_event_and_a_nameless_one_after_it() {
    let rig = Rig::new();
    let desk = json!({ "id": DESK, "name": "Desk 1", "floor": "First floor", "status": null, "since": null });
    assert_eq!(rig.json("/api/presence").await, json!({ "workspaces": [desk] }));

    rig.deliver(&change(ROOM, 0, "busy")).await;
    let all = rig.json("/api/presence").await;
    let room =
        json!({ "id": ROOM, "name": null, "floor": null, "status": "Busy", "since": "1970-01-01T00:00:00Z" });
    assert_eq!(all["workspaces"][1], room);
}

#[tokio::test]
async fn a_late_event_is_counted_and_not_shown_whatever_the_order() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [3, 1, 2]] {
        let rig = Rig::new();
        for second in order {
            let status = if second == 3 { "Free" } else { "Busy" };
            assert_eq!(rig.deliver(&change(DESK, second, status)).await, 200);
        }
        assert_eq!(rig.presence(DESK).await, (json!("Free"), json!("1970-01-01T00:00:03Z")), "{order:?}");
        let newer = order.iter().enumerate().filter(|&(at, second)| order[..at].iter().all(|b| b < second));
        let late = 3 - newer.count();
        let stats = rig.json("/api/stats").await;
        assert_eq!((&stats["handled"], &stats["late"]), (&json!(3), &json!(late)), "{order:?}");
    }
}

#[tokio::test]
async fn everything_is_counted_where_it_belongs() {
    let rig = Rig::new();
    let event = change(DESK, 1, "Busy");
    assert_eq!(rig.deliver(&event).await, 200);
    assert_eq!(rig.deliver(&event).await, 200);
    assert_eq!(rig.deliver(&TestEvent::busy().with_type("workspace.booked")).await, 200);
    assert_eq!(rig.deliver(&TestEvent::busy().with("data", json!({}))).await, 200);
    assert_eq!(rig.forge().await, 401);
    assert_eq!(rig.forge().await, 401);
    assert_eq!(rig.deliver(&TestEvent::busy().without("id")).await, 400);
    assert_eq!(rig.send(Request::post("/webhooks/roomz").body(Body::empty()).unwrap()).await.status(), 401);
    assert_eq!(rig.get("/webhooks/roomz").await.status(), 405);
    assert_eq!(
        rig.json("/api/stats").await,
        json!({
            "handled": 3, "duplicates": 1, "late": 0, "unknown": 2,
            "refused": {
                "signature-mismatch": 2, "event-malformed": 1, "signature-missing": 1, "method-not-allowed": 1
            }
        })
    );
}

#[tokio::test]
async fn a_stream_begins_with_all_that_is_known_and_goes_on_with_each_delivery() {
    let rig = Rig::new();
    rig.deliver(&change(DESK, 1, "Busy")).await;
    let mut events = rig.events().await;
    let (name, snapshot) = events.next().await.unwrap();
    assert_eq!(name, "snapshot");
    assert_eq!(snapshot["workspaces"][0]["status"], "Busy");
    assert_eq!(snapshot["stats"]["handled"], 1);
    assert_eq!(snapshot["recent"][0]["kind"], "changed");
    assert!(snapshot["now"].as_str().unwrap().parse::<Timestamp>().is_ok());

    rig.deliver(&change(DESK, 3, "Free")).await;
    rig.deliver(&change(DESK, 2, "Busy")).await;
    rig.forge().await;
    let (name, news) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &news["workspace"]["status"]), ("delivery", &json!("Free")));
    assert_eq!((&news["seen"]["kind"], &news["stats"]["handled"]), (&json!("changed"), &json!(2)));
    let (_, news) = events.next().await.unwrap();
    assert_eq!((&news["seen"]["kind"], &news["workspace"]["status"]), (&json!("late"), &json!("Free")));
    let (_, news) = events.next().await.unwrap();
    assert_eq!(
        (&news["seen"]["kind"], &news["seen"]["detail"]),
        (&json!("refused"), &json!("signature-mismatch"))
    );
    assert_eq!((&news["seen"]["number"], &news["workspace"]), (&json!(4), &Value::Null));
}

/// In a paused runtime the breath between is not waited for.
#[tokio::test(start_paused = true)]
async fn a_reader_that_falls_behind_gets_a_new_snapshot_and_then_what_follows() {
    let rig = Rig::new();
    let mut events = rig.events().await;
    events.next().await.unwrap();
    for second in 0..1_000 {
        rig.deliver(&change(DESK, second, if second % 2 == 0 { "Busy" } else { "Free" })).await;
    }
    let (name, snapshot) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &snapshot["stats"]["handled"]), ("snapshot", &json!(1_000)));
    assert_eq!(snapshot["workspaces"][0]["since"], "1970-01-01T00:16:39Z");
    assert_eq!(snapshot["recent"].as_array().unwrap().len(), 50);

    rig.deliver(&change(DESK, 1_000, "Busy")).await;
    let (name, news) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &news["seen"]["number"]), ("delivery", &json!(1_001)));
}

#[tokio::test(start_paused = true)]
async fn while_nothing_happens_a_stream_says_every_fifteen_seconds_that_it_is_alive() {
    let rig = Rig::new();
    let mut events = rig.events().await;
    events.next().await.unwrap();
    let start = tokio::time::Instant::now();
    assert_eq!(events.next().await.unwrap().0, "alive");
    assert_eq!(start.elapsed().as_secs(), 15);
}

#[tokio::test]
async fn when_the_board_is_closed_streams_end_and_deliveries_are_still_taken() {
    let rig = Rig::new();
    let mut events = rig.events().await;
    events.next().await.unwrap();
    rig.board.close();
    assert_eq!(events.next().await, None);
    assert_eq!(rig.events().await.next().await, None);
    assert_eq!(rig.deliver(&change(DESK, 1, "Busy")).await, 200);
    assert_eq!(rig.presence(DESK).await.0, "Busy");
}

/// The display whose network cable was pulled. In a paused runtime the six seconds are not waited for.
#[tokio::test(start_paused = true)]
async fn a_reader_that_reads_nothing_holds_up_the_stop_for_six_seconds_at_most() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let rig = Rig::new();
    // A snapshot that is longer than what the system takes off the server's hands.
    for number in 0..60_000_u128 {
        let workspace = WorkspaceId::from_uuid(Uuid::from_u128(number));
        let event = TestEvent::presence(&"x".repeat(64)).with_workspace_id(workspace);
        rig.board.apply(&Event::parse(&event.body()).unwrap());
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let board = rig.board.clone();
    let served = tokio::spawn(serve(listener, rig.app.clone(), async move {
        let _ = stopped.await;
        board.close();
    }));
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    stream.read_u8().await.unwrap();
    let start = tokio::time::Instant::now();
    stop.send(()).unwrap();
    assert!(served.await.unwrap().is_err());
    assert_eq!(start.elapsed().as_secs(), 6);
}

#[tokio::test]
async fn a_thousand_forgeries_are_one_line_and_do_not_wash_away_what_was_signed() {
    let rig = Rig::new();
    rig.deliver(&change(DESK, 1, "Busy")).await;
    for _ in 0..1_000 {
        rig.forge().await;
    }
    let (_, snapshot) = rig.events().await.next().await.unwrap();
    let recent = snapshot["recent"].as_array().unwrap();
    let short: Vec<_> = recent.iter().map(|seen| (&seen["kind"], &seen["times"])).collect();
    assert_eq!(short, [(&json!("changed"), &json!(1)), (&json!("refused"), &json!(1_000))]);
    assert_eq!(snapshot["stats"]["refused"]["signature-mismatch"], 1_000);
}

#[tokio::test]
async fn foreign_text_is_cut_without_control_characters_and_only_ever_json() {
    let rig = Rig::new();
    let markup = "<img src=x onerror=alert(1)>";
    rig.deliver(&change(DESK, 1, markup)).await;
    assert_eq!(rig.presence(DESK).await.0, markup);
    rig.deliver(&change(DESK, 2, "A\u{1b}[2J\u{202e}\n\n event: snapshot")).await;
    let shown = rig.presence(DESK).await.0;
    assert_eq!(shown, r"A\u{1b}[2J\u{202e}\n\n event: snapshot");
    rig.deliver(&change(DESK, 3, &"x".repeat(100_000))).await;
    assert!(rig.presence(DESK).await.0.as_str().unwrap().len() < 100);
    rig.deliver(&TestEvent::busy().with_type("</script><script>alert(1)</script>")).await;
    let (name, snapshot) = rig.events().await.next().await.unwrap();
    assert_eq!((name.as_str(), snapshot["recent"].as_array().unwrap().len()), ("snapshot", 4));
    assert_eq!(snapshot["recent"][3]["detail"], "</script><script>alert(1)</script>");
}

#[tokio::test]
async fn the_page_may_load_its_own_files_and_nothing_else() {
    let rig = Rig::new();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let response = rig.get(path).await;
        let headers = response.headers();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(headers[header::CONTENT_TYPE], kind);
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert!(
            !policy.contains("unsafe") && policy.contains("require-trusted-types-for 'script'"),
            "{policy}"
        );
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
    let html = rig.text("/").await;
    for inline in ["<style", "style=", "onclick", "onload", "javascript:", "http:", "https:"] {
        assert!(!html.contains(inline), "{inline}");
    }
    let script = rig.text("/app.js").await;
    for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"] {
        assert!(!script.contains(markup), "{markup}");
    }
}

#[tokio::test]
async fn it_says_that_it_is_healthy_and_what_it_does_not_have() {
    let rig = Rig::new();
    assert_eq!(rig.text("/healthz").await, "ok\n");
    assert_eq!(
        rig.get("/metrics").await.headers()[header::CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(rig.get("/nothing").await.status(), 404);
}
