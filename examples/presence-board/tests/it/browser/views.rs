//! The views, and the selection in the URL.

use serde_json::json;
use thirtyfour::Key;

use crate::browser::building::{LONG_NAMES, LargeBuilding, workspace_id};
use crate::browser::{id, tile, wait_for_count, wait_until_live};
use crate::support::driver::Browser;
use crate::support::program::{Program, change};

const VISIBLE_TILES: &str =
    "[...document.querySelectorAll('.tile')].filter((tile) => tile.checkVisibility()).length";
const VISIBLE_FLOORS: &str =
    "[...document.querySelectorAll('.floor h2')].filter((floor) => floor.checkVisibility())
    .map((floor) => floor.textContent)";
/// Whether all visible tiles are inside the window, and nothing scrolls.
const ALL_IN_WINDOW: &str = "(() => {
    const tiles = [...document.querySelectorAll('.tile')].filter((tile) => tile.checkVisibility());
    const floors = document.getElementById('floors');
    return tiles.every((tile) => {
        const box = tile.getBoundingClientRect();
        return box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth;
    }) && [document.documentElement, floors].every((one) =>
        one.scrollHeight <= one.clientHeight && one.scrollWidth <= one.clientWidth);
})()";

async fn open(browser: &Browser, building: &LargeBuilding, query: &str) {
    browser.page.goto(&format!("{}/{query}", building.board.url)).await.unwrap();
    wait_until_live(browser).await;
    wait_for_count(browser, "handled", 471).await;
    // The view is applied after the counters.
    browser.wait_until("document.querySelectorAll('.tile').length === 500").await;
    browser
        .wait_until(
            "[...document.querySelectorAll('[data-set-view]')].some((one) => one.ariaPressed === 'true')
        || document.body.dataset.floors === 'closed'",
        )
        .await;
}

async fn page_height(browser: &Browser) -> u64 {
    browser.value("document.documentElement.scrollHeight").await.as_u64().unwrap()
}

#[tokio::test]
async fn wall_shows_500_workspaces_without_scrolling() {
    let Some(browser) = Browser::start("presence-board: the wall view in a browser").await else { return };
    let building = LargeBuilding::start();
    browser.set_size(1920, 1080).await;
    open(&browser, &building, "?view=wall").await;
    browser.wait_until(ALL_IN_WINDOW).await;
    assert_eq!(browser.value(VISIBLE_TILES).await, 500);
    assert_eq!(browser.value("document.querySelector('aside').checkVisibility()").await, false);
    let size = "parseFloat(getComputedStyle(document.querySelector('.tile h3')).fontSize)";
    let size = browser.value(size).await.as_f64().unwrap();
    assert!(size >= 10.0, "{size} px");
    // A column in which a floor continues names it.
    let labels = "document.querySelectorAll('[data-continues]').length >= 3";
    browser.wait_until(labels).await;

    // Free and busy differ in their shapes, which the legend explains.
    let shapes = "['free', 'busy'].map((status) => {
        const [tile, legend] = ['.tile', 'button'].map((name) => document.querySelector(
            name === '.tile' ? `.tile[data-status=${status}]` : `[data-set-status=${status}]`));
        const shape = (element) => element.querySelector('use').getAttribute('href');
        return [shape(tile) === shape(legend), shape(tile), legend.innerText.split(/\\s+/)[0], legend.checkVisibility(),
            tile.querySelector('svg').getBoundingClientRect().width >= 8];
    })";
    let expected =
        json!([[true, "#icon-free", "Free", true, true], [true, "#icon-busy", "Busy", true, true]]);
    assert_eq!(browser.value(shapes).await, expected);

    // The names still fit after changes, in a smaller window, and below the banner of a stopped server.
    assert_eq!(
        building.board.deliver(&change(id(&workspace_id(8)), 0, "A status with quite a long text")),
        200
    );
    wait_for_count(&browser, "handled", 472).await;
    browser.wait_until(ALL_IN_WINDOW).await;
    browser.set_size(1600, 900).await;
    browser.wait_until(ALL_IN_WINDOW).await;
    browser.set_size(1920, 1080).await;
    drop(building);
    browser.wait_until("document.body.dataset.state === 'reconnecting'").await;
    browser.wait_until(ALL_IN_WINDOW).await;
    browser.quit().await;
}

#[tokio::test]
async fn wall_shows_selected_floor_as_cards() {
    let Some(browser) = Browser::start("presence-board: one floor on a wall in a browser").await else {
        return;
    };
    let building = LargeBuilding::start();
    browser.set_size(1920, 1080).await;
    open(&browser, &building, "?view=wall&floor=Floor+3").await;
    browser.wait_until(ALL_IN_WINDOW).await;
    assert_eq!(browser.value(VISIBLE_TILES).await, 50);
    assert_eq!(browser.value(VISIBLE_FLOORS).await, json!(["Floor 3"]));
    let words =
        "[...document.querySelectorAll('.tile .status')].filter((one) => one.checkVisibility()).length";
    assert_eq!(browser.value(words).await, 50);
    browser.quit().await;
}

#[tokio::test]
async fn url_contains_selection() {
    let Some(browser) = Browser::start("presence-board: the selection in a browser").await else { return };
    let building = LargeBuilding::start();
    open(&browser, &building, "?kiosk=7").await;
    let query = "decodeURIComponent(location.search.replaceAll('+', ' '))";
    let select_floor = "(() => {
        const floor = document.getElementById('floor');
        floor.value = 'Floor 3';
        floor.dispatchEvent(new Event('change'));
    })()";
    browser.value(select_floor).await;
    assert_eq!(browser.value(VISIBLE_TILES).await, 50);
    browser.value("document.querySelector('[data-set-status=free]').click()").await;
    assert_eq!(browser.value(VISIBLE_TILES).await, 21);
    browser.value("document.querySelector('[data-set-view=compact]').click()").await;
    browser.value("document.getElementById('search').focus()").await;
    browser.page.action_chain().send_keys("DÉSK 3.1").perform().await.unwrap();
    let selected = "?kiosk=7&view=compact&floor=Floor 3&status=free&search=DÉSK 3.1";
    browser.wait_until(&format!("{query} === '{selected}'")).await;
    assert_eq!(
        browser.text("document.getElementById('announcement').textContent").await,
        "3 workspaces shown."
    );

    // A reload, like a shared link, keeps all of it.
    browser.page.refresh().await.unwrap();
    wait_until_live(&browser).await;
    browser.wait_until(&format!("{VISIBLE_TILES} === 3")).await;
    let controls = "[document.getElementById('floor').value, document.getElementById('search').value,
        ...[...document.querySelectorAll('[aria-pressed=true]')].map((one) => one.textContent.trim().split(' ')[0])]";
    assert_eq!(browser.value(controls).await, json!(["Floor 3", "DÉSK 3.1", "Compact", "Free"]));

    // Back goes one step: the search, the view, the status, the floor.
    for (tiles, expected) in [
        (21, "?kiosk=7&view=compact&floor=Floor 3&status=free"),
        (21, "?kiosk=7&floor=Floor 3&status=free"),
        (50, "?kiosk=7&floor=Floor 3"),
        (500, "?kiosk=7"),
    ] {
        browser.page.back().await.unwrap();
        browser.wait_until(&format!("{query} === '{expected}' && {VISIBLE_TILES} === {tiles}")).await;
    }
    browser.quit().await;
}

#[tokio::test]
async fn hides_floors_without_visible_workspace() {
    let Some(browser) = Browser::start("presence-board: the search in a browser").await else { return };
    let building = LargeBuilding::start();
    open(&browser, &building, "?search=desk+3.17").await;
    browser.wait_until(&format!("{VISIBLE_TILES} === 1")).await;
    assert_eq!(browser.value(VISIBLE_FLOORS).await, json!(["Floor 3"]));
    assert_eq!(browser.value("document.getElementById('empty').checkVisibility()").await, false);

    // A change of the status can hide a workspace.
    let desk = workspace_id(116);
    browser.value("document.querySelector('[data-set-status=busy]').click()").await;
    assert_eq!(building.board.deliver(&change(id(&desk), 0, "Busy")), 200);
    browser.wait_until(&format!("{}.checkVisibility()", tile(&desk))).await;
    assert_eq!(building.board.deliver(&change(id(&desk), 0, "Free")), 200);
    browser.wait_until(&format!("{VISIBLE_FLOORS}.length === 0")).await;
    let text = "document.getElementById('empty').innerText.split('\\n')[0]";
    assert_eq!(browser.text(text).await, "No workspace matches the selection.");
    browser.value("document.getElementById('show-all').click()").await;
    assert_eq!(browser.value(VISIBLE_TILES).await, 500);
    assert_eq!(browser.value("location.search").await, "");
    browser.quit().await;
}

/// Only the word that is longer than a tile is broken.
#[tokio::test]
async fn names_wrap_between_words() {
    let Some(browser) = Browser::start("presence-board: long names in a browser").await else { return };
    let building = LargeBuilding::start();
    let broken_words = "(() => {
        const broken = new Set();
        for (const name of document.querySelectorAll('.tile h3')) {
            if (!name.checkVisibility()) continue;
            for (const word of name.textContent.matchAll(/\\S+/g)) {
                const range = document.createRange();
                range.setStart(name.firstChild, word.index);
                range.setEnd(name.firstChild, word.index + word[0].length);
                if (range.getClientRects().length > 1) broken.add(word[0]);
            }
        }
        return [...broken];
    })()";
    // The fonts of the page, and wide ones that a system may have instead.
    for font in ["", "DejaVu Sans", "monospace"] {
        let use_font = format!(
            "document.addEventListener('readystatechange',
                () => {{ document.documentElement.style.fontFamily = '{font}'; }});"
        );
        browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": use_font })).await;
        for (width, height, query) in [
            (1366, 768, ""),
            (1366, 768, "?floor=Floor+3"),
            (1920, 1080, "?view=wall"),
            (390, 844, "?view=compact"),
            (390, 844, "?floor=Floor+3"),
        ] {
            browser.set_size(width, height).await;
            open(&browser, &building, query).await;
            let broken = browser.value(broken_words).await;
            let only_longest = broken.as_array().unwrap().iter().all(|word| word == LONG_NAMES[3]);
            assert!(only_longest, "{font} {width}x{height}{query}: {broken}");
        }
    }
    browser.quit().await;
}

/// The counters fill their rows, the terms are explained, and the page says what is simulated.
#[tokio::test]
async fn explains_counters_and_demo() {
    let Some(browser) = Browser::start("presence-board: the demo in a browser").await else { return };
    let demo = Program::start(&["--demo", "--listen", "127.0.0.1:0"]);
    browser.page.goto(&demo.url).await.unwrap();
    browser.wait_until("document.getElementById('simulated').checkVisibility()").await;
    let ends = "[...document.querySelectorAll('.counters div')].reduce((rows, { offsetTop, offsetLeft, offsetWidth }) =>
        ({ ...rows, [offsetTop]: offsetLeft + offsetWidth }), {})";
    let ends = browser.value(&format!("Object.values({ends}).map((end) => Math.round(end / 4))")).await;
    assert!(ends.as_array().unwrap().iter().all(|end| *end == ends[0]), "{ends}");
    browser.value("document.querySelector('.terms summary').click()").await;
    let explained = "[...document.querySelectorAll('.counters dt')].every((term) =>
        [...document.querySelectorAll('.terms dt')].some((one) => one.checkVisibility() && one.textContent === term.textContent))";
    assert_eq!(browser.value(explained).await, true);

    let real = Program::start(&["--listen", "127.0.0.1:0"]);
    browser.page.goto(&real.url).await.unwrap();
    wait_until_live(&browser).await;
    assert_eq!(browser.value("document.getElementById('simulated').checkVisibility()").await, false);
    browser.quit().await;
}

#[tokio::test]
async fn page_down_scrolls_after_loading() {
    let Some(browser) = Browser::start("presence-board: Page Down in a browser").await else { return };
    let building = LargeBuilding::start();
    browser.set_size(1366, 768).await;
    open(&browser, &building, "").await;
    let height = page_height(&browser).await;
    assert!((1_000..6_000).contains(&height), "{height} px");
    browser.page.action_chain().send_keys(Key::PageDown).perform().await.unwrap();
    browser.wait_until("scrollY > 300").await;
    // The list of deliveries scrolls by itself, and its text keeps a distance from the scrollbar.
    let distance = "(() => {
        const list = document.getElementById('deliveries');
        const right = Math.max(...[...list.querySelectorAll('*')].map((one) => one.getBoundingClientRect().right));
        return list.scrollHeight > list.clientHeight && list.getBoundingClientRect().left + list.clientWidth - right;
    })()";
    assert!(browser.value(distance).await.as_f64().unwrap() >= 12.0);
    browser.quit().await;
}

#[tokio::test]
async fn phone_lists_floors_of_large_building() {
    let Some(browser) = Browser::start("presence-board: a large building on a phone").await else { return };
    let building = LargeBuilding::start();
    browser.set_size(390, 844).await;
    open(&browser, &building, "").await;
    browser.wait_until("document.body.dataset.floors === 'closed'").await;
    assert_eq!(browser.value(VISIBLE_TILES).await, 0);
    let height = page_height(&browser).await;
    assert!(height < 2_500, "{height} px");
    browser.value("document.querySelector('[aria-label=\"Show Floor 3\"]').focus()").await;
    browser.page.action_chain().send_keys(Key::Enter).perform().await.unwrap();
    browser.wait_until(&format!("location.search === '?floor=Floor+3' && {VISIBLE_TILES} === 50")).await;
    assert_eq!(browser.value("document.documentElement.scrollWidth").await, 390);
    browser.page.back().await.unwrap();
    browser.wait_until(&format!("{VISIBLE_TILES} === 0")).await;

    // All tiles, in three columns.
    open(&browser, &building, "?view=compact").await;
    assert_eq!(browser.value(VISIBLE_TILES).await, 500);
    let columns = "new Set([...document.querySelectorAll('.tile')].map((tile) => tile.offsetLeft)).size";
    assert_eq!(browser.value(columns).await, 3);
    let height = page_height(&browser).await;
    assert!(height < 8_000, "{height} px");
    browser.quit().await;
}
