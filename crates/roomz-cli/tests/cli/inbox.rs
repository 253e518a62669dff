use roomz_axum::testing::TestEvent;
use roomz_inbox::InboxState;
use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection};

use crate::inbox_database::{NAMESPACE, TestDatabase, deliver, fail_all, state};
use crate::support::{RunOutput, TestDir, command, run, run_command};

const UNKNOWN_ID: &str = "e6ae112e-2af3-4d72-894b-03435d7afde4";
const EVIL: &str = "Aw\u{1b}[2Jay\r\n\u{202e}\u{2066}\u{9b}31m\u{7}";

/// Runs `roomz inbox` with the URL in the environment.
fn inbox(url: &str, arguments: &[&str]) -> RunOutput {
    run_command(command().env("DATABASE_URL", url).arg("inbox").args(arguments), b"")
}

fn json_lines(output: &RunOutput) -> Vec<Value> {
    output.assert_succeeds().stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_shows_dead_letters() {
    for database in TestDatabase::all().await {
        let (url, own) = (database.url.as_str(), database.inbox().await);
        assert_eq!(inbox(url, &["list"]).assert_succeeds().stdout, "no event is dead\n");
        let events = [TestEvent::busy(), TestEvent::free()];
        let ids = [
            deliver(&own, &events[0], NAMESPACE).await.to_string(),
            deliver(&own, &events[1], NAMESPACE).await.to_string(),
        ];
        fail_all(&own, "the ticket system is down").await;

        let list = inbox(url, &["list"]);
        let lines: Vec<_> = list.assert_succeeds().stdout.lines().collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(ids.iter().all(|id| list.stdout.contains(id)), "{lines:?}");
        assert!(lines[1].ends_with("         1  roomz             the ticket system is down"), "{lines:?}");
        // The option wins over the environment.
        let listed = json_lines(&inbox("sqlite:none.db", &["list", "--json", "--database", url]));
        assert_eq!(listed.len(), 2);
        assert!(listed.iter().all(|entry| entry["state"] == "dead" && entry["attempts"] == 1), "{listed:?}");

        let shown = inbox(url, &["show", &ids[0]]);
        for part in [
            "state                     dead",
            "attempts                  1",
            "the ticket system is down",
            "is Busy",
        ] {
            assert!(shown.assert_succeeds().stdout.contains(part), "{part}: {shown:?}");
        }
        let shown = inbox(url, &["show", "--json", &ids[0]]).assert_succeeds().json();
        assert_eq!(shown["body"].as_str().unwrap().as_bytes(), events[0].body());
        assert_eq!(
            (shown["id"].as_str(), shown["namespace"].as_str()),
            (Some(ids[0].as_str()), Some("roomz"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_and_discards_by_id() {
    for database in TestDatabase::all().await {
        let (url, own) = (database.url.as_str(), database.inbox().await);
        let retried = deliver(&own, &TestEvent::busy(), NAMESPACE).await;
        let discarded = deliver(&own, &TestEvent::busy(), NAMESPACE).await;
        fail_all(&own, "failed").await;
        let (first, second) = (retried.to_string(), discarded.to_string());

        let output = inbox(url, &["retry", &first]);
        assert_eq!(output.assert_succeeds().stdout, "dead letters retried: 1\n");
        assert_eq!(state(&own, retried, NAMESPACE).await, InboxState::Waiting);
        let output = inbox(url, &["discard", &second]);
        assert_eq!(output.assert_succeeds().stdout, "dead letters discarded: 1\n");
        assert_eq!(state(&own, discarded, NAMESPACE).await, InboxState::Done);

        let output = inbox(url, &["retry", &first, UNKNOWN_ID]);
        let (waiting, unknown) =
            (format!("{first} is waiting, not a dead letter"), format!("{UNKNOWN_ID} is not in the inbox"));
        output.assert_fails(1, &["cannot retry 2 of 2 events", &waiting, &unknown, "--namespace"]);
        inbox(url, &["discard", UNKNOWN_ID]).assert_fails(1, &["cannot discard 1 of 1", UNKNOWN_ID]);
        inbox(url, &["show", UNKNOWN_ID]).assert_fails(1, &["(namespace \"roomz\"); use --namespace"]);
        inbox(url, &["show", &first, "--namespace", "other"]).assert_fails(1, &["(namespace \"other\")"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_changes_every_namespace_or_one() {
    for database in TestDatabase::all().await {
        let (url, own) = (database.url.as_str(), database.inbox().await);
        // Nothing to do is no error, and a script may look every hour.
        assert_eq!(inbox(url, &["retry", "--all"]).assert_succeeds().stdout, "dead letters retried: 0\n");
        for namespace in [NAMESPACE, "tenant-a", "tenant-b", "tenant-b"] {
            deliver(&own, &TestEvent::busy(), namespace).await;
        }
        fail_all(&own, "failed").await;

        let listed = inbox(url, &["list"]);
        let lines: Vec<_> = listed.assert_succeeds().stdout.lines().collect();
        assert!(lines.len() == 5 && lines[0].ends_with("namespace         last error"), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.contains("  tenant-b  ")).count(), 2, "{lines:?}");
        assert_eq!(json_lines(&inbox(url, &["list", "--json", "--namespace", "tenant-b"])).len(), 2);
        let limited = inbox(url, &["list", "--limit", "2"]);
        assert_eq!((limited.code, limited.stdout.lines().count()), (0, 3), "{limited:?}");
        assert!(limited.stderr.contains("the list ends after --limit 2"), "{limited:?}");
        let stats = inbox(url, &["stats"]);
        assert_eq!(stats.assert_succeeds().row("dead"), 4);
        let of_tenant = "\n  tenant-b                \n    waiting               0\n    running               0\n    dead                  2\n";
        assert!(stats.stdout.contains(of_tenant), "{stats:?}");
        let stats = inbox(url, &["stats", "--json"]).assert_succeeds().json();
        assert_eq!(
            (&stats["dead"], &stats["namespaces"]["tenant-b"]["dead"]),
            (&4.into(), &2.into()),
            "{stats}"
        );

        for command in [&["list"][..], &["retry", "--all"], &["discard", "--all"]] {
            let output = inbox(url, &[command, &["--namespace", "tenant-c"]].concat());
            output.assert_fails(1, &["\"tenant-c\" has no event", "roomz, tenant-a, tenant-b"]);
        }
        let output = inbox(url, &["retry", "--all", "--namespace", "tenant-b"]);
        assert_eq!(output.assert_succeeds().stdout, "dead letters retried: 2\n");
        let waiting = json_lines(&inbox(url, &["list", "--json", "--state", "waiting"]));
        assert!(waiting.len() == 2 && waiting.iter().all(|event| event["namespace"] == "tenant-b"));
        let output = inbox(url, &["discard", "--all"]);
        assert_eq!(output.assert_succeeds().stdout, "dead letters discarded: 2\n");
        assert_eq!(inbox(url, &["stats"]).row("dead"), 0);
        // All events of this namespace are done, which is no error.
        let output = inbox(url, &["retry", "--all", "--namespace", "tenant-a"]);
        assert_eq!(output.assert_succeeds().stdout, "dead letters retried: 0\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn escapes_text_of_events() {
    let database = TestDatabase::sqlite();
    let own = database.inbox().await;
    let event = TestEvent::presence(EVIL).with_type(EVIL);
    let id = deliver(&own, &event, NAMESPACE).await.to_string();
    fail_all(&own, EVIL).await;
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["stats"],
        &["stats", "--json"],
        &["show", &id],
        &["show", "--json", &id],
    ] {
        let output = inbox(&database.url, arguments);
        let text = output.assert_succeeds().stdout.replace('\n', "");
        assert!(text.chars().all(|character| (' '..='~').contains(&character)), "{text:?}");
    }
    let shown = inbox(&database.url, &["show", "--json", &id]).json();
    assert_eq!(shown["body"].as_str().unwrap().as_bytes(), event.body());
}

/// A wrong URL must not leave a file, a table, or another journal mode behind.
#[tokio::test(flavor = "multi_thread")]
async fn changes_nothing_in_other_database() {
    let missing = TestDatabase::sqlite();
    for suffix in ["", "?mode=rwc"] {
        let output = inbox(&format!("{}{suffix}", missing.url), &["list"]);
        output.assert_fails(1, &["--database or DATABASE_URL: cannot open the SQLite file"]);
    }
    assert!(SqliteConnection::connect(&missing.url).await.is_err());

    let sqlite = TestDatabase::sqlite();
    let mut connection = SqliteConnection::connect(&format!("{}?mode=rwc", sqlite.url)).await.unwrap();
    sqlx::raw_sql("CREATE TABLE other (id INTEGER)").execute(&mut connection).await.unwrap();
    for (database, tables) in
        [Some((sqlite, 1)), TestDatabase::postgres().await.map(|postgres| (postgres, 0))]
            .into_iter()
            .flatten()
    {
        for arguments in [&["list"][..], &["stats"], &["show", UNKNOWN_ID], &["retry", "--all"]] {
            let output = inbox(&database.url, arguments);
            output.assert_fails(
                1,
                &["the database has no inbox", "--database or DATABASE_URL", "start the receiver"],
            );
        }
        assert_eq!(database.tables().await, tables, "{}", database.url);
    }
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();
    assert_eq!(journal, "delete");
}

#[test]
fn wrong_database_names_setting_without_password() {
    run(&["inbox", "list"]).assert_fails(1, &["use --database URL", "DATABASE_URL"]);
    let directory = TestDir::new();
    let text = directory.write("text", "this is not a database, but it is long enough to be read");
    for (url, code, problem) in [
        ("user:canary@localhost/floors", 2, "the scheme is missing"),
        ("mysql://user:canary@localhost/floors", 2, "unknown scheme \"mysql\""),
        ("sqlite::memory:", 2, "it is in memory"),
        ("postgres://user:canary@127.0.0.1:1/floors", 1, "cannot reach the database"),
        (&format!("sqlite:{text}"), 1, "cannot open the SQLite file"),
    ] {
        inbox(url, &["list"]).assert_fails(code, &["DATABASE_URL: ", problem]);
        let output = run(&["inbox", "list", "--database", url]);
        assert_eq!(output.code, code, "{output:?}");
        assert!(
            output.stderr.contains("--database or DATABASE_URL: ") && output.stderr.contains(problem),
            "{output:?}"
        );
        assert!(!output.stderr.contains("canary"), "{output:?}");
    }
    for misplaced in [
        ["inbox", "show", "postgres://user:canary@localhost/floors"],
        ["inbox", "list", "postgres://user:can@ary@localhost/floors"],
        ["inbox", "postgres://user:canary@localhost/floors", "list"],
    ] {
        let output = run(&misplaced);
        output.assert_fails(2, &["postgres://…@localhost"]);
        assert!(!output.stderr.contains("canary") && !output.stderr.contains("ary@"), "{output:?}");
    }
}
