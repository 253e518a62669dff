//! The metrics, and the alerts and the dashboard that use them, in a real Prometheus.

#![cfg(unix)] // the tests stop the program with a signal

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::program::Program;
use roomz_axum::Secret;
use roomz_axum::testing::TestEvent;
use roomz_tests::{Server, promtool_or_skip};
use serde_json::Value;

/// Two samples at an interval of 1 s are enough for a rate.
const RATE_INTERVAL: &str = "15s";
const GIVE_UP: Duration = Duration::from_secs(90);

fn monitoring() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring")
}

pub(crate) fn read(file: &str) -> String {
    std::fs::read_to_string(monitoring().join(file)).unwrap()
}

/// A board with an inbox, which has all series.
fn start_board(directory: &Path) -> Program {
    let url = format!("sqlite://{}", directory.join("inbox.db").display());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(roomz_inbox::Inbox::connect(url.as_str())).unwrap();
    Program::start(&["--listen", "127.0.0.1:0", "--inbox", &url])
}

/// Deliveries with every outcome that the dashboard shows.
fn deliver(board: &Program) {
    let event = TestEvent::busy();
    assert_eq!(board.deliver(&event), 200);
    assert_eq!(board.deliver(&event), 200, "a duplicate");
    assert_eq!(board.deliver(&event.with("note", 1)), 200, "a reused id");
    assert_eq!(board.deliver(&TestEvent::free()), 200);
    assert_eq!(board.deliver(&TestEvent::presence("Offline")), 200);
    assert_eq!(board.deliver(&TestEvent::busy().with_type("workspace.booked")), 200);
    assert_eq!(board.deliver_with(&TestEvent::free(), &Secret::new("a wrong secret").unwrap()), 401);
}

/// The names of the metrics in the text format, with their types.
fn types(metrics: &str) -> BTreeMap<&str, &str> {
    metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

/// The series without values: a name, and labels.
fn series(metrics: &str) -> BTreeSet<&str> {
    let lines = metrics.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0).collect()
}

fn assert_has(series: &BTreeSet<&str>, expected: &[&str]) {
    for name in expected {
        assert!(series.contains(name), "{name} is not in {series:#?}");
    }
}

/// Waits until the board has read its inbox, and returns its metrics.
fn metrics_with_inbox(board: &Program) -> String {
    let start = Instant::now();
    loop {
        let metrics = board.get("/metrics");
        if metrics.contains("\nroomz_inbox_oldest_seconds ") {
            return metrics;
        }
        assert!(start.elapsed() < GIVE_UP, "{metrics}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn metrics_pass_promtool() {
    let Some(mut promtool) = promtool_or_skip(&monitoring()) else { return };
    let directory = tempfile::tempdir().unwrap();
    let board = start_board(directory.path());
    deliver(&board);
    let metrics = metrics_with_inbox(&board);
    let mut promtool = promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let findings = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && findings.is_empty(), "{findings}");
}

/// No delivery was made: a series that appears later hides its first increment from `increase()`.
#[test]
fn series_exist_from_start() {
    let directory = tempfile::tempdir().unwrap();
    let board = start_board(directory.path());
    let before = metrics_with_inbox(&board);
    let existing = series(&before);
    assert_has(
        &existing,
        &[
            "presence_board_build_info{version=\"0.0.0\"}",
            "presence_board_inbox_errors_total",
            "presence_board_last_delivery_timestamp_seconds",
            "presence_board_late_total",
            "presence_board_secrets",
            "presence_board_secrets_last_reload_successful",
            "presence_board_workspaces{status=\"busy\"}",
            "presence_board_workspaces{status=\"free\"}",
            "presence_board_workspaces{status=\"other\"}",
            "presence_board_workspaces{status=\"unknown\"}",
            "roomz_inbox_events{state=\"dead\"}",
            "roomz_webhook_event_age_seconds_bucket{le=\"+Inf\"}",
            "roomz_webhook_handling_seconds_bucket{le=\"30\"}",
            "roomz_webhook_store_seconds_bucket{operation=\"claim\",le=\"2\"}",
            "roomz_webhook_unknown_status_total",
        ],
    );
    #[cfg(target_os = "linux")]
    assert_has(
        &existing,
        &[
            "process_cpu_seconds_total",
            "process_open_fds",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
        ],
    );
    let types = types(&before);
    assert!(!types.values().any(|kind| *kind == "summary"), "{types:?}");
    for name in types.keys() {
        assert!(before.contains(&format!("# HELP {name} ")), "{name} has no description");
    }

    deliver(&board);
    let after = board.get("/metrics");
    let new: Vec<_> = series(&after).difference(&existing).copied().collect();
    assert!(new.is_empty(), "series that appeared with their first value: {new:?}");
}

#[test]
fn counts_workspaces_and_last_delivery() {
    let directory = tempfile::tempdir().unwrap();
    let names = directory.path().join("names.json");
    let ids = ["5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5", "5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f6"];
    std::fs::write(&names, format!(r#"{{"{}": {{"name": "A"}}, "{}": {{"name": "B"}}}}"#, ids[0], ids[1]))
        .unwrap();
    let board = Program::start(&["--listen", "127.0.0.1:0", "--names", names.to_str().unwrap()]);
    assert_eq!(board.deliver_with(&TestEvent::free(), &Secret::new("a wrong secret").unwrap()), 401);
    let text = "presence_board_last_delivery_timestamp_seconds 0\n";
    assert!(board.get("/metrics").contains(text), "a forged delivery is none");

    for (id, status) in [(ids[0], "Busy"), ("5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f7", "Free")] {
        assert_eq!(board.deliver(&crate::support::program::change(id.parse().unwrap(), 1, status)), 200);
    }
    assert_eq!(board.deliver(&TestEvent::presence("Offline")), 200);
    let metrics = board.get("/metrics");
    for status in ["busy", "free", "other", "unknown"] {
        let line = format!("presence_board_workspaces{{status=\"{status}\"}} 1\n");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    let line = metrics.lines().find(|line| line.starts_with(text.split_once(' ').unwrap().0)).unwrap();
    let seconds: f64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
    let age = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64() - seconds;
    assert!((0.0..600.0).contains(&age), "{age} s");
}

#[test]
fn alert_rules_pass_promtool() {
    let [check, test] = [
        ["check", "config", "prometheus.yml"].as_slice(),
        &["test", "rules", "alerts_test.yml", "board_alerts_test.yml", "alerts_days_test.yml"],
    ];
    for arguments in [check, test] {
        let Some(mut promtool) = promtool_or_skip(&monitoring()) else { return };
        let output = promtool.args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&text));
    }
}

/// Every expression of the dashboard and every series of the alerts exists in a Prometheus that reads a real
/// board.
#[test]
fn expressions_have_results_in_prometheus() {
    let directory = tempfile::tempdir().unwrap();
    let board = start_board(directory.path());
    let config = read("prometheus.yml").replace("127.0.0.1:3000", board.address()).replace(": 15s", ": 1s");
    let (alerts, board_alerts) = (read("alerts.yml"), read("board_alerts.yml"));
    let files = [
        ("prometheus.yml", config.as_str()),
        ("alerts.yml", alerts.as_str()),
        ("board_alerts.yml", board_alerts.as_str()),
    ];
    let Some(prometheus) = Server::prometheus_or_skip(&files) else { return };
    deliver(&board);
    wait_for(&prometheus, "count_over_time(up{job=\"presence-board\"}[1m]) >= 3");
    // The counters of these deliveries are 0 in the first sample if that was read before the deliveries.
    deliver(&board);
    wait_for(&prometheus, "sum(rate(roomz_webhook_handled_total[15s])) > 0");

    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let expressions = dashboard_expressions(&dashboard);
    assert!(expressions.len() > 25, "{expressions:#?}");
    for expression in expressions {
        wait_for(&prometheus, &expression);
    }

    let rules = alert_rules(&prometheus);
    let tests = ["alerts_test.yml", "board_alerts_test.yml", "alerts_days_test.yml"].map(read).concat();
    for rule in &rules {
        let (name, query) = (rule["name"].as_str().unwrap(), rule["query"].as_str().unwrap());
        // The board neither fills an inbox nor runs its worker.
        let is_of_inbox = |name: &String| name.starts_with("roomz_inbox_") && name.contains("_total");
        for selector in selectors(query).iter().filter(|name| !is_of_inbox(name)) {
            wait_for(&prometheus, selector);
        }
        let action = rule["annotations"]["action"].as_str().unwrap_or_default();
        assert!(action.ends_with('.') && !action.contains(". "), "{name} needs one sentence: {action:?}");
        let fires = format!("labels: '{{alertname=\"{name}\"}}'");
        assert!(tests.contains(&fires), "no test of the rules makes {name} fire");
    }
    assert!(rules.len() > 20, "{}", rules.len());
    wait_for(&prometheus, "ALERTS{alertname=\"RoomzUnknownStatus\",alertstate=\"firing\"}");
    let absent = "ALERTS{alertname=~\"PresenceBoard.*\",alertstate=\"firing\"}";
    assert_eq!(prometheus.prometheus_query(absent), Vec::<Value>::new());
}

/// Waits until an expression returns a series with a value.
pub(crate) fn wait_for(prometheus: &Server, expression: &str) {
    let start = Instant::now();
    while prometheus.prometheus_query(expression).is_empty() {
        assert!(start.elapsed() < GIVE_UP, "no result: {expression}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The expressions of all panels, with the values that Grafana puts in place of variables.
fn dashboard_expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets
        .map(|target| {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression
                .replace("$__rate_interval", RATE_INTERVAL)
                .replace("$__range", "1m")
                .replace("$job", "presence-board")
                .replace("$instance", ".+");
            assert!(!expression.contains('$'), "a variable that this test does not know: {expression}");
            expression
        })
        .collect()
}

/// The alert rules as Prometheus has read them.
pub(crate) fn alert_rules(prometheus: &Server) -> Vec<Value> {
    let data = prometheus.prometheus_data("rules");
    let groups = data["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).cloned().collect()
}

/// The selectors of series in an expression: the name of a metric, and the braces that follow it.
pub(crate) fn selectors(expression: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut selectors = Vec::new();
    for prefix in ["up{", "process_", "presence_board_", "roomz_webhook_", "roomz_inbox_", "{__name__"] {
        for (start, _) in expression.match_indices(prefix) {
            // Inside of another name, or of the value of a label.
            if expression[..start].ends_with(|c: char| is_name(c) || c == '"' || c == '|' || c == '-') {
                continue;
            }
            let rest = &expression[start..];
            let name = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            let end = if rest[name..].starts_with('{') { rest.find('}').unwrap() + 1 } else { name };
            // The second secret is a series once there are two, and a value that a negative matcher excludes
            // may be the only one.
            selectors.push(rest[..end].replace("secret!=\"0\"", "secret=\"0\""));
        }
    }
    assert!(!selectors.is_empty(), "{expression}");
    selectors
}

/// What Grafana needs to import the dashboard.
#[test]
fn dashboard_is_complete() {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39);
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: the id is not unique");
        let position = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(position("x") + position("w") <= 24, "{title}");
        for x in position("x")..position("x") + position("w") {
            for y in position("y")..position("y") + position("h") {
                assert!(cells.insert((x, y)), "{title} overlaps another panel");
            }
        }
        if panel["type"] != "row" {
            assert!(!panel["description"].as_str().unwrap().is_empty(), "{title}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}
