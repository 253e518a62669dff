//! Changes, counters and the list of deliveries.

use roomz_axum::Secret;
use roomz_axum::testing::TestEvent;
use serde_json::json;

use crate::browser::{AARE, LIMMAT, id, start_board, tile, wait_for_count, wait_until_live};
use crate::support::driver::Browser;
use crate::support::program::change;

#[tokio::test]
async fn shows_changes_and_reconnects_after_restart() {
    let Some(browser) = Browser::start("presence-board: changes and restart in a browser").await else {
        return;
    };
    let board = start_board("127.0.0.1:0");
    let address = board.address().to_owned();
    browser.page.goto(&board.url).await.unwrap();
    wait_until_live(&browser).await;
    assert_eq!(browser.text("document.querySelector('#floors h2').textContent").await, "Ground floor");
    assert_eq!(browser.value(&format!("{}.dataset.status", tile(AARE))).await, "other");

    // A change appears as words and as a shape, not as color alone, and is announced to screen readers.
    assert_eq!(board.deliver(&change(id(AARE), 3, "Busy")), 200);
    browser.wait_until(&format!("{}.dataset.status === 'busy'", tile(AARE))).await;
    assert_eq!(browser.text(&format!("{}.innerText", tile(AARE))).await, "Aare\n\nBusy\n3 min");
    let icon = format!("{}.querySelector('use').getAttribute('href')", tile(AARE));
    assert_eq!(browser.value(&icon).await, "#icon-busy");
    assert_eq!(browser.text("document.getElementById('announcement').textContent").await, "Aare: Busy.");
    wait_for_count(&browser, "handled", 1).await;
    // The floor's name above the first row would cover a ring outside the tile.
    let rings = "[...document.styleSheets].flatMap((sheet) => [...sheet.cssRules])
        .find((rule) => rule.name === 'highlight' && rule.cssRules).cssRules";
    let rings = format!("[...{rings}].map((frame) => frame.style.boxShadow)");
    let rings = browser.value(&rings).await;
    assert!(rings.as_array().unwrap().iter().all(|ring| ring.as_str().unwrap().contains("inset")), "{rings}");

    // A late event is counted but not shown.
    assert_eq!(board.deliver(&change(id(AARE), 9, "Free")), 200);
    wait_for_count(&browser, "late", 1).await;
    assert_eq!(browser.value(&format!("{}.dataset.status", tile(AARE))).await, "busy");

    // A forged event is counted with the reason, and a duplicate is counted.
    let wrong_secret = Secret::new("a wrong secret").unwrap();
    assert_eq!(board.deliver_with(&change(id(AARE), 0, "Free"), &wrong_secret), 401);
    wait_for_count(&browser, "rejected", 1).await;
    browser.wait_until("document.getElementById('reasons').innerText === 'signature-mismatch\\n1'").await;
    let event = change(id(LIMMAT), 1, "Free");
    assert_eq!((board.deliver(&event), board.deliver(&event)), (200, 200));
    wait_for_count(&browser, "duplicates", 1).await;
    browser.wait_until(&format!("{}.dataset.status === 'free'", tile(LIMMAT))).await;
    assert_eq!(browser.value(&format!("{}.dataset.status", tile(AARE))).await, "busy");
    let outcomes = "[...document.querySelectorAll('#deliveries .outcome')].map((one) => one.textContent)";
    let newest_first = ["duplicate", "changed", "rejected", "late", "changed"];
    browser.wait_until("document.querySelectorAll('#deliveries li').length === 5").await;
    assert_eq!(browser.value(outcomes).await, json!(newest_first));

    // The server is killed and started again.
    drop(board);
    browser.wait_until("document.querySelector('#connection').dataset.state === 'reconnecting'").await;
    let board = start_board(&address);
    wait_until_live(&browser).await;
    wait_for_count(&browser, "handled", 0).await;
    assert_eq!(
        browser.value(&format!("{}.dataset.status", tile(AARE))).await,
        "other",
        "the board is empty after a restart"
    );
    assert_eq!(board.deliver(&change(id(AARE), 3, "Free")), 200);
    browser.wait_until(&format!("{}.dataset.status === 'free'", tile(AARE))).await;
    // Statuses that the specification does not name are displayed as other, never as free.
    for (minutes_ago, status) in [(2, "None"), (1, "Undefined"), (0, "constructor")] {
        assert_eq!(board.deliver(&change(id(AARE), minutes_ago, status)), 200);
        browser.wait_until(&format!("{}.innerText.includes('{status}')", tile(AARE))).await;
        assert_eq!(browser.value(&format!("{}.dataset.status", tile(AARE))).await, "other", "{status}");
    }

    // The shutdown succeeds while the page is connected.
    assert!(board.stop().0.success());
    browser.wait_until("document.querySelector('#connection').dataset.state === 'reconnecting'").await;
    browser.quit().await;
}

#[tokio::test]
async fn shows_markup_in_events_as_text() {
    let Some(browser) = Browser::start("presence-board: markup in a browser").await else { return };
    let board = start_board("127.0.0.1:0");
    browser.page.goto(&board.url).await.unwrap();
    wait_until_live(&browser).await;
    let markup = "<img src=x onerror=document.title=1><b>owned</b>";
    assert_eq!(board.deliver(&change(id(AARE), 0, markup)), 200);
    assert_eq!(board.deliver(&TestEvent::busy().with_type(markup)), 200);
    wait_for_count(&browser, "handled", 2).await;
    browser.wait_until(&format!("{}.querySelector('.status').textContent === '{markup}'", tile(AARE))).await;
    let deliveries = browser.text("document.getElementById('deliveries').textContent").await;
    assert_eq!(deliveries.matches(markup).count(), 2, "{deliveries}");
    assert_eq!(browser.value("document.querySelectorAll('img, b').length").await, 0);
    // A status other than free and busy gets the style of neither.
    assert_eq!(browser.value(&format!("{}.dataset.status", tile(AARE))).await, "other");
    browser.quit().await;
}

/// The page shows the building although the stream of changes does not open.
#[tokio::test]
async fn page_comes_with_building() {
    let Some(browser) = Browser::start("presence-board: the first page in a browser").await else { return };
    let board = start_board("127.0.0.1:0");
    assert_eq!(board.deliver(&change(id(AARE), 3, "Busy")), 200);
    browser.cdp("Network.enable", json!({})).await;
    browser.cdp("Network.setBlockedURLs", json!({ "urls": ["*/events"] })).await;
    browser.page.goto(&board.url).await.unwrap();
    browser.wait_until("document.querySelectorAll('.tile').length === 24").await;
    assert_eq!(browser.text(&format!("{}.innerText", tile(AARE))).await, "Aare\n\nBusy\n3 min");
    assert_eq!(browser.value("document.querySelector('#connection').dataset.state === 'live'").await, false);
    browser.quit().await;
}

#[tokio::test]
async fn finds_deliveries() {
    let Some(browser) = Browser::start("presence-board: finding a delivery in a browser").await else {
        return;
    };
    let board = start_board("127.0.0.1:0");
    let event = change(id(AARE), 3, "Busy").with_id("0198e1c2-7a3b-7c4d-8e5f-60718293a4b5".parse().unwrap());
    assert_eq!((board.deliver(&event), board.deliver(&event)), (200, 200));
    assert_eq!(board.deliver(&change(id(LIMMAT), 1, "Free")), 200);
    browser.page.goto(&board.url).await.unwrap();
    wait_until_live(&browser).await;
    let find = async |text: &str| {
        let search = format!(
            "(document.getElementById('find-delivery').value = '{text}',
              document.querySelector('.find-delivery button').click(), true)"
        );
        browser.value(&search).await;
        browser.wait_until("document.getElementById('found-text').textContent !== ''").await;
        let found = "[...document.querySelectorAll('#found li')].map((one) =>
            [one.querySelector('.outcome').textContent, one.querySelector('.description').textContent])";
        browser.value(found).await
    };
    let line = |outcome: &str, attempt: u32| {
        let event = "0198e1c2-7a3b-7c4d-8e5f-60718293a4b5";
        let text = format!("\u{2068}Aare\u{2069}, attempt {attempt}, event {event}");
        json!([format!("{outcome}, answer 200"), text])
    };
    for text in ["aare", AARE, "0198E1C2-7a3b"] {
        assert_eq!(find(text).await, json!([line("duplicate", 2), line("handled", 1)]), "{text}");
    }
    assert_eq!(find("no such event").await, json!([]));
    let text = browser.text("document.getElementById('found-text').textContent").await;
    assert!(text.starts_with("Not among the latest"), "{text}");
    browser.quit().await;
}
