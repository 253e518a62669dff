//! The dead letters of an inbox.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use roomz_axum::testing::TestEvent;
use roomz_axum::{WebhookLayer, WorkspacePresenceChanged};
use roomz_inbox::{BoxError, Inbox, InboxState, Job};
use serde_json::json;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::browser::{AARE, LIMMAT, id, names_file, wait_until_live};
use crate::support::driver::Browser;
use crate::support::program::{Program, secret};

const ERROR: &str = "<b>no such desk</b>";

/// An inbox with one dead letter for each workspace.
async fn inbox_with_dead_letters(url: &str, workspaces: &[&str]) -> Inbox {
    let inbox = Inbox::connect(url).await.unwrap();
    let receiver = WebhookLayer::builder(secret()).build().unwrap().layer(inbox.endpoint());
    for workspace in workspaces {
        let event = TestEvent::busy().with_workspace_id(id(workspace));
        let request = event.request::<Vec<u8>>("/", &secret());
        let request = request.map(|body| http_body_util::Full::new(bytes::Bytes::from(body)));
        assert_eq!(receiver.clone().oneshot(request).await.unwrap().status(), 202);
    }
    let fail = service_fn(async |_: Job<WorkspacePresenceChanged>| Err::<(), BoxError>(ERROR.into()));
    let worker = inbox.worker(fail).with_max_attempts(1).start();
    while inbox.stats().await.unwrap().dead < workspaces.len() as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.shutdown(Duration::from_secs(60)).await;
    inbox
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_and_discards_dead_letters() {
    let Some(browser) = Browser::start("presence-board: dead letters in a browser").await else { return };
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("inbox.db").display());
    let inbox = inbox_with_dead_letters(&url, &[AARE, LIMMAT]).await;
    let board = Program::start(&["--listen", "127.0.0.1:0", "--names", names_file(), "--inbox", &url]);
    browser.page.goto(&board.url).await.unwrap();
    wait_until_live(&browser).await;
    browser.wait_until("document.querySelectorAll('#dead-letter-list li').length === 2").await;
    let texts = "[...document.querySelectorAll('#dead-letter-list li')].map((one) =>
        [one.querySelector('.outcome').textContent, one.querySelector('.error').textContent])";
    let (aare, limmat) =
        (json!(["\u{2068}Aare\u{2069}: Busy", ERROR]), json!(["\u{2068}Limmat\u{2069}: Busy", ERROR]));
    assert_eq!(browser.value(texts).await, json!([aare, limmat]));

    let dead = inbox.list(InboxState::Dead, 10).await.unwrap();
    browser.value("document.querySelector('[data-action=retry]').click()").await;
    browser.wait_until("document.querySelectorAll('#dead-letter-list li').length === 1").await;
    let retried = inbox.get(&dead[0].key).await.unwrap().unwrap();
    assert_eq!(retried.state, InboxState::Waiting);

    // The list is read again when the numbers arrive.
    let text = "document.getElementById('announcement').textContent";
    browser.wait_until(&format!("{text} === 'The event is tried again.'")).await;

    // Discarding asks first.
    let discard = "(setTimeout(() => document.querySelector('[data-action=discard]').click()), true)";
    for accept in [false, true] {
        browser.value(discard).await;
        let start = std::time::Instant::now();
        while browser.page.get_alert_text().await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "no question");
        }
        if accept {
            browser.page.accept_alert().await.unwrap();
        } else {
            browser.page.dismiss_alert().await.unwrap();
            assert_eq!(inbox.get(&dead[1].key).await.unwrap().unwrap().state, InboxState::Dead);
        }
    }
    browser.wait_until("document.getElementById('dead-letters').hidden").await;
    assert!(inbox.list(InboxState::Dead, 10).await.unwrap().is_empty());
    browser.quit().await;
}

/// The browser of somebody who is logged in sends no such request for the page of another site.
#[tokio::test(flavor = "multi_thread")]
async fn other_sites_cannot_change_dead_letters() {
    let Some(browser) = Browser::start("presence-board: another site in a browser").await else { return };
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("inbox.db").display());
    let inbox = inbox_with_dead_letters(&url, &[AARE]).await;
    let dead = inbox.list(InboxState::Dead, 1).await.unwrap().remove(0);
    let board = Program::start(&["--listen", "127.0.0.1:0", "--inbox", &url]);
    let body = json!({ "namespace": dead.key.namespace(), "id": dead.key.id().to_string() }).to_string();

    // `localhost` is another site than `127.0.0.1`. Neither body needs the permission of the board.
    let other = format!("http://localhost:{}/healthz", board.address().rsplit(':').next().unwrap());
    browser.page.goto(&other).await.unwrap();
    for (mode, content_type) in
        [("no-cors", "text/plain"), ("no-cors", "application/json"), ("cors", "application/json")]
    {
        let attack = format!(
            "fetch('{}/api/dead-letters/discard', {{ method: 'POST', mode: '{mode}', credentials: 'include',
                headers: {{ 'content-type': '{content_type}' }}, body: '{body}' }}).then(() => 'sent', () => 'blocked')",
            board.url
        );
        browser.cdp("Runtime.evaluate", json!({ "expression": attack, "awaitPromise": true })).await;
        assert_eq!(
            inbox.get(&dead.key).await.unwrap().unwrap().state,
            InboxState::Dead,
            "{mode} {content_type}"
        );
    }
    browser.page.clone().quit().await.unwrap();

    let post = |headers: &str, body: &str| {
        let mut stream = TcpStream::connect(board.address()).unwrap();
        let length = body.len();
        write!(
            stream,
            "POST /api/dead-letters/discard HTTP/1.0\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response[9..12].to_owned()
    };
    let json_type = "content-type: application/json\r\n";
    assert_eq!(post("content-type: text/plain\r\n", &body), "415");
    for site in ["cross-site", "same-site", "none"] {
        assert_eq!(post(&format!("{json_type}sec-fetch-site: {site}\r\n"), &body), "403", "{site}");
    }
    assert_eq!(post(json_type, r#"{"namespace":"roomz","id":"x"}"#), "400");
    assert_eq!(inbox.get(&dead.key).await.unwrap().unwrap().state, InboxState::Dead);
    assert_eq!(post(json_type, &body), "204");
    assert_eq!(post(json_type, &body), "404", "it is discarded already");
}
