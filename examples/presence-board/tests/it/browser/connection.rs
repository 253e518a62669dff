//! A server that is silent or gone, and times of earlier days.

use roomz_tests::Server;
use serde_json::json;

use crate::browser::building::deliver_building;
use crate::browser::{AARE, id, names_file, start_board, tile, wait_for_count, wait_until_live};
use crate::support::driver::Browser;
use crate::support::program::{Program, change};

/// Counts the attempts to connect.
const COUNT_ATTEMPTS: &str = "
    window.attempts = 0;
    window.EventSource = class extends EventSource {
        constructor(...all) { super(...all); attempts += 1; }
    };
";

const BANNER: &str = "document.querySelector('#connection').textContent";

async fn wait_until_reconnecting(browser: &Browser) {
    browser.wait_until("document.querySelector('#connection').dataset.state === 'reconnecting'").await;
}

/// A suspended server, like a pulled network cable, closes no connection: only the messages stop. The test
/// waits for the page's timeout of 8 s, because the clock of a browser is real.
#[tokio::test]
async fn reports_silent_server_and_reconnects() {
    let Some(browser) = Browser::start("presence-board: a silent server in a browser").await else {
        return;
    };
    let board = start_board("127.0.0.1:0");
    deliver_building(&board);
    browser.set_size(390, 844).await;
    browser.page.goto(&board.url).await.unwrap();
    wait_until_live(&browser).await;
    wait_for_count(&browser, "handled", 24).await;
    browser.value("scrollTo(0, 600)").await;

    board.signal("STOP");
    wait_until_reconnecting(&browser).await;
    let text = browser.text(BANNER).await;
    assert!(text.starts_with("No data since ") && text.ends_with(". Reconnecting…"), "{text}");
    let title = browser.text("document.title").await;
    assert!(title.starts_with("⚠ No data since ") && title.ends_with(" · Presence"), "{title}");
    // The banner is in sight although the page is scrolled.
    let banner = "(() => {
        const box = document.querySelector('#connection').getBoundingClientRect();
        const top = document.elementFromPoint(innerWidth / 2, box.height / 2);
        return [scrollY > 0, box.top, box.width, box.height >= 40, top.id];
    })()";
    assert_eq!(browser.value(banner).await, json!([true, 0, 390, true, "connection"]));

    board.signal("CONT");
    wait_until_live(&browser).await;
    assert_eq!(browser.text("document.title").await, "12 free · Presence");
    assert_eq!(board.deliver(&change(id(AARE), 3, "Busy")), 200);
    browser.wait_until(&format!("{}.querySelector('time').textContent === '3 min'", tile(AARE))).await;
    browser.quit().await;
}

/// A proxy that holds the stream back, as one that buffers it does.
const HOLD_STREAM: &str = "
    window.Held = class extends EventTarget {
        constructor() { super(); this.readyState = 1; }
        close() { this.readyState = 2; }
    };
    window.RealSource = EventSource;
    Held.CLOSED = 2;
    window.EventSource = Held;
";

/// The test waits twice for the page's timeout of 8 s.
#[tokio::test]
async fn page_polls_when_stream_does_not_arrive() {
    let Some(browser) = Browser::start("presence-board: a stream that a proxy holds back").await else {
        return;
    };
    browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": HOLD_STREAM })).await;
    let board = start_board("127.0.0.1:0");
    browser.set_size(390, 844).await;
    browser.page.goto(&board.url).await.unwrap();
    assert_eq!(board.deliver(&change(id(AARE), 3, "Busy")), 200);
    browser.wait_until(&format!("{}?.dataset.status === 'busy'", tile(AARE))).await;
    let text = browser.text(BANNER).await;
    assert!(text.starts_with("No live stream: updated every 5 s."), "{text}");
    assert_eq!(board.deliver(&change(id(AARE), 2, "Free")), 200);
    browser.wait_until(&format!("{}.dataset.status === 'free'", tile(AARE))).await;
    assert_eq!(browser.text(BANNER).await, text);
    // The proxy lets the next connection through.
    browser.value("window.EventSource = RealSource, 0").await;
    wait_until_live(&browser).await;
    browser.quit().await;
}

#[tokio::test]
async fn old_browser_is_told() {
    let Some(browser) = Browser::start("presence-board: an old browser").await else { return };
    // Before Chromium 92.
    browser
        .cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": "delete Array.prototype.at;" }))
        .await;
    let board = start_board("127.0.0.1:0");
    browser.page.goto(&board.url).await.unwrap();
    browser.wait_until("document.querySelector('#too-old').checkVisibility()").await;
    assert!(browser.text("document.querySelector('#too-old').textContent").await.contains("Firefox 90"));
    browser.page.clone().quit().await.unwrap();
}

#[tokio::test]
async fn attempts_do_not_move_time_of_last_data() {
    let Some(browser) = Browser::start("presence-board: a stopped server in a browser").await else {
        return;
    };
    browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": COUNT_ATTEMPTS })).await;
    let board = start_board("127.0.0.1:0");
    browser.page.goto(&board.url).await.unwrap();
    wait_until_live(&browser).await;
    let last = "document.querySelector('.last-delivery').textContent.trim()";
    assert_eq!(browser.text(last).await, "No delivery yet");
    assert_eq!(board.deliver(&change(id(AARE), 3, "Busy")), 200);
    browser.wait_until(&format!("/^Last delivery [0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}$/.test({last})")).await;

    drop(board);
    wait_until_reconnecting(&browser).await;
    let first = browser.text(BANNER).await;
    browser.wait_until("attempts >= 4").await;
    assert_eq!(browser.text(BANNER).await, first);
    browser.quit().await;
}

/// Counts the open connections of a page that is left.
const COUNT_OPEN: &str = "
    const sources = [];
    window.EventSource = class extends EventSource {
        constructor(...all) { super(...all); sources.push(this); }
    };
    // After the listeners of the page.
    addEventListener('load', () => addEventListener('pagehide', () => {
        sessionStorage.open = sources.filter((one) => one.readyState !== EventSource.CLOSED).length;
    }));
";

/// Browsers keep pages for the Back button. With their connections, six such pages would block every further
/// request.
#[tokio::test]
async fn page_reconnects_after_back_button() {
    let Some(browser) = Browser::start("presence-board: the Back button in a browser").await else { return };
    browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": COUNT_OPEN })).await;
    let board = start_board("127.0.0.1:0");
    for page in 1..=2 {
        browser.page.goto(&format!("{}/?page={page}", board.url)).await.unwrap();
        wait_until_live(&browser).await;
    }
    assert_eq!(browser.text("sessionStorage.open").await, "0");
    browser.page.back().await.unwrap();
    browser.wait_until("location.search === '?page=1'").await;
    wait_until_live(&browser).await;
    assert_eq!(board.deliver(&change(id(AARE), 0, "Busy")), 200);
    browser.wait_until(&format!("{}.dataset.status === 'busy'", tile(AARE))).await;
    browser.quit().await;
}

#[tokio::test]
async fn times_of_earlier_days_have_dates() {
    let Some(browser) = Browser::start("presence-board: times of earlier days in a browser").await else {
        return;
    };
    let board = start_board("127.0.0.1:0");
    browser.page.goto(&board.url).await.unwrap();
    wait_until_live(&browser).await;
    assert_eq!(board.deliver(&change(id(AARE), 0, "Busy")), 200);
    let times = "[document.querySelector('#deliveries time'), document.querySelector('#last-delivery')]";
    browser.wait_until(&format!("{times}.every((time) => /^[0-9:]{{8}}$/.test(time?.textContent))")).await;
    // Moves the page's clock to the next day and to another year. A heartbeat of the server moves it back.
    for (days, date) in
        [(1, "^[0-9]{1,2} [A-Z][a-z]+, [0-9:]{8}$"), (400, "^[0-9]{1,2} [A-Z][a-z]+ [0-9]{4}, [0-9:]{8}$")]
    {
        let dated = format!(
            "import('/time.js').then((time) => {{
                time.setServerTime(new Date(Date.now() + {days} * 86_400_000).toISOString());
                dispatchEvent(new Event('resize'));
                return new Promise((done) => setTimeout(done, 100));
            }}).then(() => {times}.every((time) => /{date}/.test(time.textContent)))"
        );
        browser.wait_until(&dated).await;
    }
    browser.quit().await;
}

/// The connection to the page works, but deliveries are rejected.
#[tokio::test]
async fn reports_unavailable_store() {
    let Some(browser) = Browser::start("presence-board: an unavailable store in a browser").await else {
        return;
    };
    let Some(mut store) = Server::redis_or_skip(&[]) else { return browser.quit().await };
    let url = format!("redis://{}", store.address());
    let board = Program::start(&["--listen", "127.0.0.1:0", "--names", names_file(), "--store", &url]);
    browser.page.goto(&board.url).await.unwrap();
    wait_until_live(&browser).await;

    store.kill();
    browser.wait_until("document.querySelector('#connection').dataset.state === 'store-unavailable'").await;
    let text = browser.text(BANNER).await;
    assert!(
        text.starts_with("Store unavailable since ") && text.ends_with(". Deliveries are rejected."),
        "{text}"
    );
    let title = browser.text("document.title").await;
    assert!(title.starts_with("⚠ Store unavailable since "), "{title}");
    // A page that is opened now shows it too.
    browser.page.refresh().await.unwrap();
    browser.wait_until("document.querySelector('#connection').dataset.state === 'store-unavailable'").await;

    store.restart();
    wait_until_live(&browser).await;
    browser.quit().await;
}
