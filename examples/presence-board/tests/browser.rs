//! The page in a real browser, served by the real program.

#![cfg(unix)] // the program is killed and stopped with signals

#[path = "common/driver.rs"]
mod driver;
#[path = "common/program.rs"]
mod program;

use std::path::Path;

use driver::Browser;
use program::{Program, change};
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, WorkspaceId};
use serde_json::{Value, json};
use thirtyfour::Key;

/// Workspaces of the demo's names.
const AARE: &str = "c963cfe0-afae-4a3b-b909-6a04e7d80068";
const LIMMAT: &str = "26b563b1-e794-4e14-a145-4c40c439f34a";

fn id(text: &str) -> WorkspaceId {
    text.parse().unwrap()
}

fn names() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/demo-names.json")
}

/// The program with names on this address.
fn board(listen: &str) -> Program {
    Program::start(&["--listen", listen, "--names", names()])
}

fn tile(workspace: &str) -> String {
    format!("document.querySelector('[data-workspace=\"{workspace}\"]')")
}

async fn is_live(browser: &Browser) {
    browser.until("document.querySelector('#connection').dataset.state === 'live'").await;
}

/// Waits until a counter, by its id, shows this.
async fn counts(browser: &Browser, counter: &str, number: u64) {
    browser.until(&format!("document.getElementById('{counter}').textContent === '{number}'")).await;
}

#[tokio::test]
async fn the_page_shows_changes_but_not_late_or_forged_ones_and_recovers_when_the_server_does() {
    let Some(browser) = Browser::start("the page in a browser").await else { return };
    let board = board("127.0.0.1:0");
    let address = board.address().to_owned();
    browser.page.goto(&board.url).await.unwrap();
    is_live(&browser).await;
    assert_eq!(browser.text("document.querySelector('#floors h2').textContent").await, "Ground floor");
    assert_eq!(browser.value(&format!("{}.dataset.status", tile(AARE))).await, "none");

    // A change is seen, in words and not only in colour, and told to a screen reader.
    assert_eq!(board.deliver(&change(id(AARE), 3, "Busy")), 200);
    browser.until(&format!("{}.dataset.status === 'busy'", tile(AARE))).await;
    assert_eq!(browser.text(&format!("{}.innerText", tile(AARE))).await, "Aare\n\nBusy\n3 min");
    let shape = format!("getComputedStyle({}.querySelector('.as-busy')).display", tile(AARE));
    assert_eq!(browser.value(&shape).await, "block");
    assert_eq!(browser.text("document.getElementById('news').textContent").await, "Aare: Busy.");
    counts(&browser, "handled", 1).await;

    // A late event is counted and not shown.
    assert_eq!(board.deliver(&change(id(AARE), 9, "Free")), 200);
    counts(&browser, "late", 1).await;
    assert_eq!(browser.value(&format!("{}.dataset.status", tile(AARE))).await, "busy");

    // So is a forged one, with its reason; and a duplicate.
    let forger = Secret::new("a guess").unwrap();
    assert_eq!(board.deliver_as(&change(id(AARE), 0, "Free"), &forger), 401);
    counts(&browser, "refused", 1).await;
    browser.until("document.getElementById('reasons').innerText === 'signature-mismatch\\n1'").await;
    let left = change(id(LIMMAT), 1, "Free");
    assert_eq!((board.deliver(&left), board.deliver(&left)), (200, 200));
    counts(&browser, "duplicates", 1).await;
    browser.until(&format!("{}.dataset.status === 'free'", tile(LIMMAT))).await;
    assert_eq!(browser.value(&format!("{}.dataset.status", tile(AARE))).await, "busy");
    let kinds = "[...document.querySelectorAll('#stream .kind')].map((kind) => kind.textContent)";
    let newest_first = ["duplicate", "changed", "refused", "late", "changed"];
    browser.until("document.querySelectorAll('#stream li').length === 5").await;
    assert_eq!(browser.value(kinds).await, json!(newest_first));

    // The server dies, and comes back.
    drop(board);
    browser.until("document.querySelector('#connection').dataset.state === 'reconnecting'").await;
    let said = browser.text("document.querySelector('#connection').textContent").await;
    assert!(said.starts_with("Reconnecting… this is as of "), "{said}");
    let board = self::board(&address);
    is_live(&browser).await;
    counts(&browser, "handled", 0).await;
    assert_eq!(
        browser.value(&format!("{}.dataset.status", tile(AARE))).await,
        "none",
        "a new start knows nothing"
    );
    assert_eq!(board.deliver(&change(id(AARE), 0, "Free")), 200);
    browser.until(&format!("{}.dataset.status === 'free'", tile(AARE))).await;

    // It also stops as it should while the page is connected.
    assert!(board.stop().0.success());
    browser.until("document.querySelector('#connection').dataset.state === 'reconnecting'").await;
    browser.quit().await;
}

/// A cable that was pulled closes nothing: only the silence tells. The page's clock is moved, not waited for.
#[tokio::test]
async fn a_connection_that_has_gone_silent_is_given_up_for_a_new_one() {
    let Some(browser) = Browser::start("a silent connection in a browser").await else { return };
    let board = board("127.0.0.1:0");
    browser.page.goto(&board.url).await.unwrap();
    is_live(&browser).await;
    let now = "(() => { const now = Date.now; Date.now = () => now() + 46_000; })()";
    browser.value(now).await;
    browser.until("document.querySelector('#connection').dataset.state === 'reconnecting'").await;
    is_live(&browser).await;
    assert_eq!(board.deliver(&change(id(AARE), 3, "Busy")), 200);
    browser.until(&format!("{}.querySelector('time').textContent === '3 min'", tile(AARE))).await;
    browser.quit().await;
}

#[tokio::test]
async fn markup_in_an_event_is_shown_as_text() {
    let Some(browser) = Browser::start("markup in an event in a browser").await else { return };
    let board = board("127.0.0.1:0");
    browser.page.goto(&board.url).await.unwrap();
    is_live(&browser).await;
    let markup = "<img src=x onerror=document.title=1><b>owned</b>";
    assert_eq!(board.deliver(&change(id(AARE), 0, markup)), 200);
    assert_eq!(board.deliver(&TestEvent::busy().with_type(markup)), 200);
    counts(&browser, "handled", 2).await;
    browser.until(&format!("{}.querySelector('.status').textContent === '{markup}'", tile(AARE))).await;
    let stream = browser.text("document.getElementById('stream').textContent").await;
    assert_eq!(stream.matches(markup).count(), 2, "{stream}");
    assert_eq!(browser.value("document.querySelectorAll('img, b').length").await, 0);
    // An unknown status is not mistaken for one of the two.
    assert_eq!(browser.value(&format!("{}.dataset.status", tile(AARE))).await, "none");
    browser.quit().await;
}

#[tokio::test]
async fn the_page_can_be_used_with_a_keyboard_and_on_a_phone() {
    let Some(browser) = Browser::start("keyboard and phone in a browser").await else { return };
    let board = board("127.0.0.1:0");
    show(&board);
    browser.size(360, 740).await;
    browser.page.goto(&board.url).await.unwrap();
    is_live(&browser).await;
    counts(&browser, "handled", 24).await;
    assert_eq!(browser.value("document.documentElement.scrollWidth").await, 360, "nothing sticks out");

    // Each stop of the Tab key is seen, has a name and is large enough for a finger.
    let mut stops = Vec::new();
    for _ in 0..6 {
        browser.page.action_chain().send_keys(Key::Tab).perform().await.unwrap();
        let stop = browser
            .value(
                "(() => {
                    const at = document.activeElement, box = at.getBoundingClientRect();
                    const style = getComputedStyle(at);
                    return {
                        text: at.getAttribute('aria-label') ?? at.getAttribute('aria-labelledby') ?? at.textContent,
                        seen: style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2,
                        there: box.top >= 0 && box.bottom <= innerHeight && box.height >= 24 && box.width >= 24,
                    };
                })()",
            )
            .await;
        if stops.len() < 5 {
            assert_eq!(stop["seen"], true, "{stop}");
            assert!(stop["there"] == true || stop["text"] == "latest", "{stop}");
        }
        stops.push(stop["text"].clone());
    }
    let expected =
        ["Skip to the workspaces", "All", "Free", "Busy", "Pause the list of deliveries", "latest"];
    assert_eq!(stops, expected);

    // The filter and the pause do as they say.
    let shown = "[...document.querySelectorAll('.tile')].filter((tile) => tile.checkVisibility()).length";
    let press = async |selector: &str| {
        browser.value(&format!("document.querySelector('{selector}').focus()")).await;
        browser.page.action_chain().send_keys(Key::Enter).perform().await.unwrap();
        let pressed = format!("document.querySelector('{selector}').getAttribute('aria-pressed')");
        assert_eq!(browser.value(&pressed).await, "true");
    };
    press("[data-show=free]").await;
    assert_eq!(browser.value(shown).await, 12);
    press("[data-show=busy]").await;
    assert_eq!(browser.value(shown).await, 10);
    press("[data-show=all]").await;
    assert_eq!(browser.value(shown).await, 24);
    press("#pause").await;
    let first = "document.querySelector('#stream .text').textContent";
    let before = browser.text(first).await;
    assert_eq!(board.deliver(&change(id(AARE), 0, "Away")), 200);
    counts(&browser, "handled", 25).await;
    assert_eq!(browser.text(first).await, before);
    browser.quit().await;
}

#[tokio::test]
async fn the_page_can_be_read_by_everybody() {
    let Some(browser) = Browser::start("accessibility in a browser").await else { return };
    let board = board("127.0.0.1:0");
    show(&board);
    for scheme in ["light", "dark"] {
        browser.media(&[("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]).await;
        browser.page.goto(&board.url).await.unwrap();
        is_live(&browser).await;
        counts(&browser, "handled", 24).await;
        let running = "document.getAnimations().filter((one) => one.playState === 'running').length";
        assert_eq!(browser.value(running).await, 0, "reduced motion");
        contrast(&browser, scheme).await;
    }

    assert_eq!(browser.value("document.documentElement.lang").await, "en");
    assert_eq!(browser.text("document.title").await, "12 free · Presence");
    let levels = "[...document.querySelectorAll('h1, h2, h3')].map((heading) => Number(heading.tagName[1]))";
    let levels: Vec<u64> = serde_json::from_value(browser.value(levels).await).unwrap();
    assert_eq!((levels[0], levels.iter().filter(|level| **level == 1).count()), (1, 1));
    assert!(levels.windows(2).all(|two| two[1] <= two[0] + 1), "{levels:?}");
    let twice = "[...document.querySelectorAll('[id]')].length
        - new Set([...document.querySelectorAll('[id]')].map((one) => one.id)).size";
    assert_eq!(browser.value(twice).await, 0, "an id is there twice");
    let dangling = "[...document.querySelectorAll('[aria-labelledby]')]
        .filter((one) => !document.getElementById(one.getAttribute('aria-labelledby'))).length";
    assert_eq!(browser.value(dangling).await, 0);

    // What the browser tells a screen reader.
    let tree = browser.cdp("Accessibility.getFullAXTree", json!({})).await;
    let nodes: Vec<_> =
        tree["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] == false).collect();
    let role = |node: &Value| node["role"]["value"].as_str().unwrap_or_default().to_owned();
    let name = |node: &Value| node["name"]["value"].as_str().unwrap_or_default().to_owned();
    for node in &nodes {
        let needs_a_name = ["button", "link", "heading", "image", "img", "group", "region", "complementary"];
        assert!(!needs_a_name.contains(&role(node).as_str()) || !name(node).is_empty(), "{node}");
    }
    for landmark in ["banner", "main", "complementary", "status"] {
        assert_eq!(nodes.iter().filter(|node| role(node) == landmark).count(), 1, "{landmark}");
    }
    let all: Vec<_> = nodes.iter().map(|node| (role(node), name(node))).collect();
    for expected in [
        ("button", "All"),
        ("button", "Pause the list of deliveries"),
        ("region", "First floor"),
        ("heading", "Desk 1.01"),
        ("image", "12 free, 10 busy, 2 unknown"),
        ("complementary", "Deliveries"),
    ] {
        assert!(all.iter().any(|(role, name)| (role.as_str(), name.as_str()) == expected), "{expected:?}");
    }
    browser.quit().await;
}

/// Every text stands out from what is behind it as WCAG 2.2 AA asks, 4.5 to 1, the large ones too.
async fn contrast(browser: &Browser, scheme: &str) {
    let pairs = browser
        .value(
            "(() => {
                const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
                const light = (colour) => {
                    const [r, g, b] = numbers(colour).map((part) => part / 255)
                        .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
                    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
                };
                const behind = (element) => {
                    for (let at = element; at; at = at.parentElement) {
                        const colour = getComputedStyle(at).backgroundColor;
                        if (numbers(colour)[3] !== 0) return colour;
                    }
                    return 'none';
                };
                const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
                const pairs = [];
                while (texts.nextNode()) {
                    const element = texts.currentNode.parentElement;
                    if (!texts.currentNode.textContent.trim() || !element.checkVisibility()) continue;
                    const [front, back] = [getComputedStyle(element).color, behind(element)];
                    const [low, high] = [light(front), light(back)].sort((a, b) => a - b);
                    pairs.push([element.textContent, front, back, (high + 0.05) / (low + 0.05)]);
                }
                return pairs;
            })()",
        )
        .await;
    let pairs = pairs.as_array().unwrap();
    assert!(pairs.len() > 100, "{} texts", pairs.len());
    for pair in pairs {
        assert!(pair[3].as_f64().unwrap() >= 4.5, "{scheme}: {pair}");
    }
}

/// A building with something of everything: 12 free, 10 busy, 2 of which nothing is known.
fn show(board: &Program) {
    let names: Value = serde_json::from_str(&std::fs::read_to_string(names()).unwrap()).unwrap();
    let mut named: Vec<_> = names.as_object().unwrap().iter().collect();
    named.sort_by_key(|(_, name)| name["name"].to_string());
    let status = |at: usize| if [1, 2, 5, 6, 7, 11, 13, 16, 18, 21].contains(&at) { "Busy" } else { "Free" };
    let silent = ["Desk 2.08", "Booth B"];
    let heard: Vec<_> =
        named.iter().filter(|(_, name)| !silent.contains(&name["name"].as_str().unwrap())).collect();
    for (at, (workspace, _)) in heard.iter().enumerate() {
        let minutes = [4, 12, 95, 31, 7, 150, 58, 2, 19, 44, 71][at % 11] + (at as u64 / 11) * 3;
        assert_eq!(board.deliver(&change(id(workspace), minutes, status(at))), 200);
    }
    let (first, second) = (id(heard[0].0), id(heard[3].0));
    assert_eq!(board.deliver_as(&change(first, 0, "Free"), &Secret::new("a guess").unwrap()), 401);
    assert_eq!(board.deliver(&TestEvent::busy().with_type("workspace.battery.low")), 200);
    let late = change(second, 90, "Busy");
    assert_eq!((board.deliver(&late), board.deliver(&late)), (200, 200));
}

/// Writes `page.png`, and the same in the dark, on a phone and without its server into the directory for what tests
/// leave behind.
#[tokio::test]
#[ignore = "writes examples/presence-board/page.png"]
async fn picture() {
    let Some(browser) = Browser::start("the picture of the page").await else { return };
    let board = board("127.0.0.1:0");
    show(&board);
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let elsewhere = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (file, scheme, width, height) in [
        (package.join("page.png"), "light", 1280, 800),
        (elsewhere.join("page-dark.png"), "dark", 1280, 800),
        (elsewhere.join("page-phone.png"), "light", 360, 1600),
    ] {
        browser.media(&[("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]).await;
        browser.size(width, height).await;
        browser.page.goto(&board.url).await.unwrap();
        is_live(&browser).await;
        counts(&browser, "handled", 24).await;
        shoot(&browser, &file).await;
    }
    browser.size(1280, 800).await;
    drop(board);
    browser.until("document.querySelector('#connection').dataset.state === 'reconnecting'").await;
    shoot(&browser, &elsewhere.join("page-reconnecting.png")).await;
    browser.quit().await;
}

async fn shoot(browser: &Browser, file: &Path) {
    let png = browser.page.screenshot_as_png().await.unwrap();
    assert!(png.len() <= 200 * 1024, "{} bytes", png.len());
    std::fs::write(file, png).unwrap();
    println!("{}", file.display());
}
