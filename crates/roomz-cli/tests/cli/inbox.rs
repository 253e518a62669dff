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
        assert_eq!(
            inbox(url, &["list"]).assert_succeeds().stdout,
            "no event is dead (namespace \"roomz\")\n"
        );
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
        assert!(lines[1].ends_with("         1  roomz      the ticket system is down"), "{lines:?}");
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
        assert_eq!(output.assert_succeeds().stdout, format!("retried {first}\n"));
        assert_eq!(state(&own, retried, NAMESPACE).await, InboxState::Waiting);
        let output = inbox(url, &["discard", &second]);
        assert_eq!(output.assert_succeeds().stdout, format!("discarded {second}\n"));
        assert_eq!(state(&own, discarded, NAMESPACE).await, InboxState::Done);

        let output = inbox(url, &["retry", &first, UNKNOWN_ID]);
        let (waiting, unknown) =
            (format!("{first} is waiting, not a dead letter"), format!("{UNKNOWN_ID} is not in the inbox"));
        output.assert_fails(1, &["cannot retry 2 of 2 events", &waiting, &unknown]);
        inbox(url, &["discard", UNKNOWN_ID]).assert_fails(1, &["cannot discard 1 of 1", UNKNOWN_ID]);
        inbox(url, &["show", UNKNOWN_ID]).assert_fails(1, &["is not in the inbox (namespace \"roomz\")"]);
        inbox(url, &["show", &first, "--namespace", "other"]).assert_fails(1, &["(namespace \"other\")"]);
    }
}

/// More dead letters than one page, and those of another namespace.
#[tokio::test(flavor = "multi_thread")]
async fn changes_all_of_one_namespace() {
    for database in TestDatabase::all().await {
        let (url, own) = (database.url.as_str(), database.inbox().await);
        for _ in 0..101 {
            deliver(&own, &TestEvent::busy(), NAMESPACE).await;
        }
        let other = deliver(&own, &TestEvent::busy(), "other").await;
        fail_all(&own, "failed").await;

        let limited = inbox(url, &["list", "--limit", "100"]);
        assert_eq!((limited.code, limited.stdout.lines().count()), (0, 101), "{limited:?}");
        assert!(limited.stderr.contains("more than 100 events: raise --limit"), "{limited:?}");
        assert_eq!(json_lines(&inbox(url, &["list", "--json", "--limit", "101"])).len(), 101);

        let output = inbox(url, &["retry", "--all"]);
        assert_eq!(output.assert_succeeds().stdout, "101 dead letters retried\n");
        assert_eq!(
            json_lines(&inbox(url, &["list", "--json", "--state", "waiting", "--limit", "200"])).len(),
            101
        );
        assert_eq!(state(&own, other, "other").await, InboxState::Dead);
        fail_all(&own, "failed").await;
        let output = inbox(url, &["discard", "--all"]);
        assert_eq!(output.assert_succeeds().stdout, "101 dead letters discarded\n");
        let stats = inbox(url, &["stats", "--json"]).assert_succeeds().json();
        assert_eq!((&stats["waiting"], &stats["dead"]), (&0.into(), &1.into()), "{stats}");
        assert_eq!(inbox(url, &["stats"]).row("dead"), 1);
    }
}

/// Dead letters of tenants are not overlooked.
#[tokio::test(flavor = "multi_thread")]
async fn names_other_namespaces() {
    for database in TestDatabase::all().await {
        let (url, own) = (database.url.as_str(), database.inbox().await);
        // Nothing to do is no error, and a script may look every hour.
        assert_eq!(inbox(url, &["retry", "--all"]).assert_succeeds().stdout, "0 dead letters retried\n");
        let id = deliver(&own, &TestEvent::busy(), "tenant-b").await.to_string();
        for namespace in ["tenant-a", "tenant-b"] {
            deliver(&own, &TestEvent::busy(), namespace).await;
        }
        fail_all(&own, "failed").await;

        let others = "\"tenant-a\" has 1, \"tenant-b\" has 2: use --namespace or --all-namespaces";
        let empty = inbox(url, &["list"]);
        assert_eq!((empty.code, empty.stdout.as_str()), (0, "no event is dead (namespace \"roomz\")\n"));
        assert!(empty.stderr.contains(others), "{empty:?}");
        assert_eq!(inbox(url, &["list", "--state", "waiting"]).assert_succeeds().stderr, "");
        for verb in ["retry", "discard"] {
            let nothing = format!("nothing to {verb} in the namespace \"roomz\"");
            inbox(url, &[verb, "--all"]).assert_fails(1, &[&nothing, others]);
        }

        let listed = inbox(url, &["list", "--all-namespaces"]);
        let lines: Vec<_> = listed.assert_succeeds().stdout.lines().collect();
        assert!(lines.len() == 4 && lines[0].ends_with("namespace  last error"), "{lines:?}");
        assert!(lines[1..].iter().all(|line| line.contains("  tenant-")), "{lines:?}");
        let stats = inbox(url, &["stats"]);
        assert_eq!(stats.assert_succeeds().row("dead"), 3);
        assert!(
            stats.stdout.contains("\n  tenant-b                waiting 0, running 0, dead 2, "),
            "{stats:?}"
        );
        let stats = inbox(url, &["stats", "--json"]).assert_succeeds().json();
        assert_eq!(
            (&stats["dead"], &stats["namespaces"]["tenant-b"]["dead"]),
            (&3.into(), &2.into()),
            "{stats}"
        );

        inbox(url, &["retry", &id, "--all-namespaces"])
            .assert_fails(2, &["cannot be used with '--all-namespaces'"]);
        let output = inbox(url, &["retry", "--all", "--all-namespaces"]);
        assert_eq!(output.assert_succeeds().stdout, "3 dead letters retried\n");
        let both = inbox(url, &["list", "--namespace", "tenant-a", "--all-namespaces"]);
        both.assert_fails(2, &["cannot be used with"]);
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
        &["list", "--json", "--all-namespaces"],
        &["list", "--all-namespaces"],
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
        output.assert_fails(1, &["DATABASE_URL: cannot open the SQLite file"]);
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
            output.assert_fails(1, &["DATABASE_URL: the database has no inbox", "start the receiver"]);
        }
        let output = run(&["inbox", "list", "--database", &database.url]);
        output.assert_fails(1, &["--database: the database has no inbox"]);
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
        inbox(url, &["list"]).assert_fails(1, &["DATABASE_URL: ", problem]);
        let output = run(&["inbox", "list", "--database", url]);
        assert_eq!(output.code, code, "{output:?}");
        assert!(output.stderr.contains("--database: ") && output.stderr.contains(problem), "{output:?}");
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
