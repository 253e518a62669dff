//! The page in Chromium, served by the program.

#![cfg(unix)] // the tests stop the program with signals

#[path = "../common/driver.rs"]
mod driver;
mod nginx;
#[path = "../common/program.rs"]
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

fn names_file() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/demo-names.json")
}

/// Starts the program with the demo's names.
fn start_board(listen: &str) -> Program {
    Program::start(&["--listen", listen, "--names", names_file()])
}

fn tile(workspace: &str) -> String {
    format!("document.querySelector('[data-workspace=\"{workspace}\"]')")
}

async fn wait_until_live(browser: &Browser) {
    browser.wait_until("document.querySelector('#connection').dataset.state === 'live'").await;
}

/// Waits until the counter with this id shows a number.
async fn wait_for_count(browser: &Browser, counter: &str, number: u64) {
    browser.wait_until(&format!("document.getElementById('{counter}').textContent === '{number}'")).await;
}

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
    assert_eq!(browser.value(&format!("{}.dataset.status", tile(AARE))).await, "unknown");

    // A change appears as words and as a shape, not as color alone, and is announced to screen readers.
    assert_eq!(board.deliver(&change(id(AARE), 3, "Busy")), 200);
    browser.wait_until(&format!("{}.dataset.status === 'busy'", tile(AARE))).await;
    assert_eq!(browser.text(&format!("{}.innerText", tile(AARE))).await, "Aare\n\nBusy\n3 min");
    let icon_display = format!("getComputedStyle({}.querySelector('.icon-busy')).display", tile(AARE));
    assert_eq!(browser.value(&icon_display).await, "block");
    assert_eq!(browser.text("document.getElementById('announcement').textContent").await, "Aare: Busy.");
    wait_for_count(&browser, "handled", 1).await;

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
    let text = browser.text("document.querySelector('#connection').textContent").await;
    assert!(text.starts_with("Reconnecting… data as of "), "{text}");
    let board = start_board(&address);
    wait_until_live(&browser).await;
    wait_for_count(&browser, "handled", 0).await;
    assert_eq!(
        browser.value(&format!("{}.dataset.status", tile(AARE))).await,
        "unknown",
        "the board is empty after a restart"
    );
    assert_eq!(board.deliver(&change(id(AARE), 3, "Free")), 200);
    browser.wait_until(&format!("{}.dataset.status === 'free'", tile(AARE))).await;
    // Statuses that the specification does not name are displayed as unknown, never as free.
    for (minutes_ago, status) in [(2, "None"), (1, "Undefined"), (0, "constructor")] {
        assert_eq!(board.deliver(&change(id(AARE), minutes_ago, status)), 200);
        browser.wait_until(&format!("{}.innerText.includes('{status}')", tile(AARE))).await;
        assert_eq!(browser.value(&format!("{}.dataset.status", tile(AARE))).await, "unknown", "{status}");
    }

    // The shutdown succeeds while the page is connected.
    assert!(board.stop().0.success());
    browser.wait_until("document.querySelector('#connection').dataset.state === 'reconnecting'").await;
    browser.quit().await;
}

/// A suspended server, like a pulled network cable, closes no connection: only the messages stop.
#[tokio::test]
async fn reconnects_when_messages_stop() {
    let Some(browser) = Browser::start("presence-board: a silent connection in a browser").await else {
        return;
    };
    let board = start_board("127.0.0.1:0");
    browser.page.goto(&board.url).await.unwrap();
    wait_until_live(&browser).await;
    board.signal("STOP");
    browser.wait_until("document.querySelector('#connection').dataset.state === 'reconnecting'").await;
    board.signal("CONT");
    wait_until_live(&browser).await;
    assert_eq!(board.deliver(&change(id(AARE), 3, "Busy")), 200);
    browser.wait_until(&format!("{}.querySelector('time').textContent === '3 min'", tile(AARE))).await;
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
    assert_eq!(browser.value(&format!("{}.dataset.status", tile(AARE))).await, "unknown");
    browser.quit().await;
}

#[tokio::test]
async fn works_with_keyboard_and_on_phone() {
    let Some(browser) = Browser::start("presence-board: keyboard and phone in a browser").await else {
        return;
    };
    let board = start_board("127.0.0.1:0");
    deliver_building(&board);
    browser.set_size(360, 740).await;
    browser.page.goto(&board.url).await.unwrap();
    wait_until_live(&browser).await;
    wait_for_count(&browser, "handled", 24).await;
    assert_eq!(
        browser.value("document.documentElement.scrollWidth").await,
        360,
        "the page does not scroll sideways"
    );

    // Each element that the Tab key reaches has a visible focus and a name, and is large enough for touch.
    let mut focused = Vec::new();
    for _ in 0..6 {
        browser.page.action_chain().send_keys(Key::Tab).perform().await.unwrap();
        let element = browser
            .value(
                "(() => {
                    const active = document.activeElement, box = active.getBoundingClientRect();
                    const style = getComputedStyle(active);
                    return {
                        name: active.getAttribute('aria-label') ?? active.getAttribute('aria-labelledby') ?? active.textContent,
                        focusVisible: style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2,
                        touchable: box.top >= 0 && box.bottom <= innerHeight && box.height >= 24 && box.width >= 24,
                    };
                })()",
            )
            .await;
        if focused.len() < 5 {
            assert_eq!(element["focusVisible"], true, "{element}");
            assert!(element["touchable"] == true || element["name"] == "latest-heading", "{element}");
        }
        focused.push(element["name"].clone());
    }
    let expected =
        ["Skip to workspaces", "All", "Free", "Busy", "Pause the list of deliveries", "latest-heading"];
    assert_eq!(focused, expected);

    // The filter buttons and the pause button work with the Enter key.
    let visible_tiles =
        "[...document.querySelectorAll('.tile')].filter((tile) => tile.checkVisibility()).length";
    let press = async |selector: &str| {
        browser.value(&format!("document.querySelector('{selector}').focus()")).await;
        browser.page.action_chain().send_keys(Key::Enter).perform().await.unwrap();
        let pressed = format!("document.querySelector('{selector}').getAttribute('aria-pressed')");
        assert_eq!(browser.value(&pressed).await, "true");
    };
    press("[data-show=free]").await;
    assert_eq!(browser.value(visible_tiles).await, 12);
    press("[data-show=busy]").await;
    assert_eq!(browser.value(visible_tiles).await, 10);
    press("[data-show=all]").await;
    assert_eq!(browser.value(visible_tiles).await, 24);
    press("#pause").await;
    let first = "document.querySelector('#deliveries .description').textContent";
    let before = browser.text(first).await;
    assert_eq!(board.deliver(&change(id(AARE), 0, "Away")), 200);
    wait_for_count(&browser, "handled", 25).await;
    assert_eq!(browser.text(first).await, before);
    browser.quit().await;
}

#[tokio::test]
async fn meets_accessibility_requirements() {
    let Some(browser) = Browser::start("presence-board: accessibility in a browser").await else { return };
    let board = start_board("127.0.0.1:0");
    deliver_building(&board);
    for scheme in ["light", "dark"] {
        browser.set_media(&[("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]).await;
        browser.page.goto(&board.url).await.unwrap();
        wait_until_live(&browser).await;
        wait_for_count(&browser, "handled", 24).await;
        let running = "document.getAnimations().filter((one) => one.playState === 'running').length";
        assert_eq!(browser.value(running).await, 0, "reduced motion");
        assert_contrast(&browser, scheme).await;
    }

    assert_eq!(browser.value("document.documentElement.lang").await, "en");
    assert_eq!(browser.text("document.title").await, "12 free · Presence");
    let levels = "[...document.querySelectorAll('h1, h2, h3')].map((heading) => Number(heading.tagName[1]))";
    let levels: Vec<u64> = serde_json::from_value(browser.value(levels).await).unwrap();
    assert_eq!((levels[0], levels.iter().filter(|level| **level == 1).count()), (1, 1));
    assert!(levels.windows(2).all(|two| two[1] <= two[0] + 1), "{levels:?}");
    let duplicate_ids = "[...document.querySelectorAll('[id]')].length
        - new Set([...document.querySelectorAll('[id]')].map((one) => one.id)).size";
    assert_eq!(browser.value(duplicate_ids).await, 0, "duplicate ids");
    let dangling = "[...document.querySelectorAll('[aria-labelledby]')]
        .filter((one) => !document.getElementById(one.getAttribute('aria-labelledby'))).length";
    assert_eq!(browser.value(dangling).await, 0);

    // The accessibility tree, which screen readers use.
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

/// Every text has the contrast of WCAG 2.2 AA for small text, 4.5 to 1, to its background.
async fn assert_contrast(browser: &Browser, scheme: &str) {
    let pairs = browser
        .value(
            "(() => {
                const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
                const luminance = (color) => {
                    const [r, g, b] = numbers(color).map((part) => part / 255)
                        .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
                    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
                };
                const background = (element) => {
                    for (let ancestor = element; ancestor; ancestor = ancestor.parentElement) {
                        const color = getComputedStyle(ancestor).backgroundColor;
                        if (numbers(color)[3] !== 0) return color;
                    }
                    return 'none';
                };
                const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
                const pairs = [];
                while (texts.nextNode()) {
                    const element = texts.currentNode.parentElement;
                    if (!texts.currentNode.textContent.trim() || !element.checkVisibility()) continue;
                    const [front, back] = [getComputedStyle(element).color, background(element)];
                    const [low, high] = [luminance(front), luminance(back)].sort((a, b) => a - b);
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

/// Delivers events of every outcome: 12 workspaces are free, 10 busy and 2 unknown afterwards.
fn deliver_building(board: &Program) {
    let names: Value = serde_json::from_str(&std::fs::read_to_string(names_file()).unwrap()).unwrap();
    let mut named: Vec<_> = names.as_object().unwrap().iter().collect();
    named.sort_by_key(|(_, name)| name["name"].to_string());
    let status =
        |index: usize| if [1, 2, 5, 6, 7, 11, 13, 16, 18, 21].contains(&index) { "Busy" } else { "Free" };
    let without_events = ["Desk 2.08", "Booth B"];
    let with_events: Vec<_> =
        named.iter().filter(|(_, name)| !without_events.contains(&name["name"].as_str().unwrap())).collect();
    for (index, (workspace, _)) in with_events.iter().enumerate() {
        let minutes = [4, 12, 95, 31, 7, 150, 58, 2, 19, 44, 71][index % 11] + (index as u64 / 11) * 3;
        assert_eq!(board.deliver(&change(id(workspace), minutes, status(index))), 200);
    }
    let (first, second) = (id(with_events[0].0), id(with_events[3].0));
    assert_eq!(board.deliver_with(&change(first, 0, "Free"), &Secret::new("a wrong secret").unwrap()), 401);
    assert_eq!(board.deliver(&TestEvent::busy().with_type("workspace.battery.low")), 200);
    let late = change(second, 90, "Busy");
    assert_eq!((board.deliver(&late), board.deliver(&late)), (200, 200));
}

/// Writes `page.png`. Writes screenshots of the dark page, of a phone and of a lost connection to the target directory.
#[tokio::test]
#[ignore = "writes examples/presence-board/page.png"]
async fn picture() {
    let Some(browser) = Browser::start("presence-board: the picture of the page").await else { return };
    let board = start_board("127.0.0.1:0");
    deliver_building(&board);
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (file, scheme, width, height) in [
        (package.join("page.png"), "light", 1280, 800),
        (temporary.join("page-dark.png"), "dark", 1280, 800),
        (temporary.join("page-phone.png"), "light", 360, 1600),
    ] {
        browser.set_media(&[("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]).await;
        browser.set_size(width, height).await;
        browser.page.goto(&board.url).await.unwrap();
        wait_until_live(&browser).await;
        wait_for_count(&browser, "handled", 24).await;
        take_screenshot(&browser, &file).await;
    }
    browser.set_size(1280, 800).await;
    drop(board);
    browser.wait_until("document.querySelector('#connection').dataset.state === 'reconnecting'").await;
    take_screenshot(&browser, &temporary.join("page-reconnecting.png")).await;
    browser.quit().await;
}

async fn take_screenshot(browser: &Browser, file: &Path) {
    let png = browser.page.screenshot_as_png().await.unwrap();
    assert!(png.len() <= 200 * 1024, "{} bytes", png.len());
    std::fs::write(file, png).unwrap();
    println!("{}", file.display());
}
