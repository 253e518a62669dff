//! Names in other scripts, browsers in other languages, and workspaces without names.

use serde_json::{Map, Value, json};

use crate::browser::building::workspace_id;
use crate::browser::{id, tile, wait_for_count, wait_until_live};
use crate::support::driver::Browser;
use crate::support::program::{Program, change};

/// Starts a board whose workspaces have these names, on one floor.
fn start_named(names: &[&str], floor: &str) -> (Program, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.json");
    let entries = names.iter().zip(0..);
    let entries: Map<_, _> =
        entries.map(|(name, index)| (workspace_id(index), json!({ "name": name, "floor": floor }))).collect();
    std::fs::write(&file, Value::from(entries).to_string()).unwrap();
    (Program::start(&["--listen", "127.0.0.1:0", "--names", file.to_str().unwrap()]), directory)
}

/// The first word of an Arabic name is at the right, also in a line that begins with it, and the words around
/// it stay in place.
#[tokio::test]
async fn names_from_right_to_left_keep_their_order() {
    let Some(browser) = Browser::start("presence-board: Arabic names in a browser").await else { return };
    let (board, _directory) = start_named(&["غرفة A-3"], "الطابق الأول");
    browser.set_size(1366, 768).await;
    browser.page.goto(&board.url).await.unwrap();
    wait_until_live(&browser).await;
    assert_eq!(board.deliver(&change(id(&workspace_id(0)), 3, "Busy")), 200);
    browser.wait_until("document.querySelectorAll('#deliveries li').length === 1").await;
    // Whether the first text is drawn to the right of the second one, inside the same element.
    let is_right_of = |selector: &str, first: &str, second: &str| {
        format!(
            "(() => {{
                const node = document.querySelector('{selector}').firstChild;
                const [first, second] = ['{first}', '{second}'].map((text) => {{
                    const range = document.createRange();
                    range.setStart(node, node.data.indexOf(text));
                    range.setEnd(node, node.data.indexOf(text) + text.length);
                    return range.getBoundingClientRect();
                }});
                return first.left >= second.right;
            }})()"
        )
    };
    assert_eq!(browser.value(&is_right_of(".tile h3", "غرفة", "A")).await, true);
    assert_eq!(browser.value(&is_right_of("#deliveries .description", "غرفة", "A")).await, true);
    assert_eq!(browser.value(&is_right_of("#deliveries .description", "Busy", "غرفة")).await, true);
    // The name begins at the left like all others: the shape of the status is at the right.
    let overlaps = "(() => {
        const range = document.createRange();
        range.selectNodeContents(document.querySelector('.tile h3'));
        return range.getBoundingClientRect().right > document.querySelector('.tile svg').getBoundingClientRect().left;
    })()";
    assert_eq!(browser.value(overlaps).await, false);
    browser.quit().await;
}

/// The page is English. Half of its numbers would have the digits of the browser's language.
#[tokio::test]
async fn numbers_do_not_depend_on_browser_language() {
    let Some(browser) = Browser::start("presence-board: an Arabic browser").await else { return };
    for locale in ["ar-EG", "de-CH"] {
        browser.cdp("Emulation.setLocaleOverride", json!({ "locale": locale })).await;
        let (board, _directory) = start_named(&["Desk"; 1_200], "First floor");
        browser.page.goto(&board.url).await.unwrap();
        wait_until_live(&browser).await;
        assert_eq!(board.deliver(&change(id(&workspace_id(0)), 3, "Free")), 200);
        wait_for_count(&browser, "handled", 1).await;
        let texts = "['#total', '#count-all', '#count-other', '.floor-header p']
            .map((one) => document.querySelector(one).textContent)";
        assert_eq!(browser.value(texts).await, json!(["1,200", "1,200", "1,199", "1 of 1,200 free"]));
        browser.cdp("Emulation.setLocaleOverride", json!({})).await;
    }
    browser.quit().await;
}

#[tokio::test]
async fn search_ignores_width_of_letters() {
    let Some(browser) = Browser::start("presence-board: Japanese names in a browser").await else { return };
    let (board, _directory) = start_named(&["窓側デスク１２番", "大会議室"], "二階");
    let query = "?search=12%E7%95%AA";
    browser.page.goto(&format!("{}/{query}", board.url)).await.unwrap();
    wait_until_live(&browser).await;
    browser.wait_until("document.getElementById('count-all').textContent === '1'").await;
    browser.quit().await;
}

/// In other time zones, also those whose offset is not a whole number of hours, the day and the elapsed time
/// are right.
#[tokio::test]
async fn shows_times_of_browser_time_zone() {
    let Some(browser) = Browser::start("presence-board: time zones in a browser").await else { return };
    let (board, _directory) = start_named(&["Desk"], "First floor");
    assert_eq!(board.deliver(&change(id(&workspace_id(0)), 3, "Free")), 200);
    for (zone, minutes) in [("Asia/Kathmandu", 345), ("America/St_Johns", -210)] {
        browser.cdp("Emulation.setTimezoneOverride", json!({ "timezoneId": zone })).await;
        browser.page.goto(&board.url).await.unwrap();
        browser
            .wait_until(&format!("{}?.querySelector('time').textContent === '3 min'", tile(&workspace_id(0))))
            .await;
        // St. John's may have summer time.
        let expected = format!(
            "[{minutes}, {minutes} + 60].some((offset) => {{
                const time = document.getElementById('last-delivery');
                const local = new Date(Date.parse(time.dateTime) + offset * 60_000).toISOString().slice(11, 19);
                return time.textContent.endsWith(local);
            }})"
        );
        browser.wait_until(&expected).await;
    }
    browser.quit().await;
}

#[tokio::test]
async fn offers_names_file_for_unnamed_workspaces() {
    let Some(browser) = Browser::start("presence-board: workspaces without names").await else { return };
    let board = Program::start(&["--listen", "127.0.0.1:0"]);
    for index in 0..120 {
        assert_eq!(board.deliver(&change(id(&workspace_id(index)), 3, "Free")), 200);
    }
    browser.set_size(390, 844).await;
    browser.page.goto(&board.url).await.unwrap();
    wait_until_live(&browser).await;
    browser.wait_until("document.getElementById('unnamed').checkVisibility()").await;
    let hint = browser.text("document.getElementById('unnamed').textContent").await;
    assert!(hint.starts_with("120 workspaces have no name. Download a names file"), "{hint}");
    // There is only one floor, so that a list of floors would be an empty page.
    browser.wait_until("document.querySelector('.tile').checkVisibility()").await;
    assert_eq!(browser.text("document.querySelector('.tile h3').textContent").await, "00000000");

    // The downloaded file is a names file, with an entry for each workspace.
    let file = browser.cdp(
        "Runtime.evaluate",
        json!({
            "expression": "fetch(document.querySelector('#unnamed a').href).then((response) => response.text())",
            "awaitPromise": true,
        }),
    );
    let file = file.await["result"]["value"].as_str().unwrap().to_owned();
    let named = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(named.path(), file.replace(r#":"00000000""#, r#":"Desk \"1\".","floor":"First floor""#))
        .unwrap();
    drop(board);
    let board = Program::start(&["--listen", "127.0.0.1:0", "--names", named.path().to_str().unwrap()]);
    browser.page.goto(&board.url).await.unwrap();
    wait_until_live(&browser).await;
    browser.wait_until("document.querySelectorAll('.tile').length === 120").await;
    assert_eq!(browser.value("document.getElementById('unnamed').checkVisibility()").await, false);
    assert_eq!(
        board.get("/api/names").lines().nth(1).unwrap(),
        format!(r#"  "{}": {{"name":"Desk \"1\".","floor":"First floor"}},"#, workspace_id(0))
    );
    browser.quit().await;
}

/// A label above a column must not cover the label of the next one.
#[tokio::test]
async fn labels_of_columns_do_not_overlap() {
    let Some(browser) = Browser::start("presence-board: a wall without names").await else { return };
    let board = Program::start(&["--listen", "127.0.0.1:0"]);
    for index in 0..300 {
        assert_eq!(board.deliver(&change(id(&workspace_id(index)), 3, "Free")), 200);
    }
    browser.set_size(1920, 1080).await;
    browser.page.goto(&format!("{}/?view=wall", board.url)).await.unwrap();
    browser.wait_until("document.querySelectorAll('[data-continues]').length >= 3").await;
    let overlapping = "[...document.querySelectorAll('[data-continues]')].filter((tile) =>
        parseFloat(getComputedStyle(tile, '::before').width) > tile.offsetWidth).length";
    assert_eq!(browser.value(overlapping).await, 0);
    browser.quit().await;
}
