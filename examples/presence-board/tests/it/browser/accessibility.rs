//! Keyboard, phone, contrast and the accessibility tree.

use serde_json::{Value, json};
use thirtyfour::Key;

use crate::browser::building::deliver_building;
use crate::browser::{AARE, id, start_board, wait_for_count, wait_until_live};
use crate::support::driver::Browser;
use crate::support::program::change;

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
    for _ in 0..14 {
        browser.page.action_chain().send_keys(Key::Tab).perform().await.unwrap();
        let element = browser
            .value(
                "(() => {
                    const active = document.activeElement, box = active.getBoundingClientRect();
                    const style = getComputedStyle(active);
                    return {
                        name: active.getAttribute('aria-label') ?? active.getAttribute('aria-labelledby') ?? active.textContent.trim(),
                        focusVisible: style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2,
                        touchable: box.top >= 0 && box.bottom <= innerHeight && box.height >= 24 && box.width >= 24,
                    };
                })()",
            )
            .await;
        if focused.len() < 13 {
            assert_eq!(element["focusVisible"], true, "{element}");
            assert!(element["touchable"] == true || element["name"] == "latest-heading", "{element}");
        }
        focused.push(element["name"].clone());
    }
    let expected = [
        "Skip to workspaces",
        "Floor",
        "Search workspaces",
        "Cards",
        "Compact",
        "All 24",
        "Free 12",
        "Busy 10",
        "Other 2",
        "What the terms mean",
        "Find deliveries by event id or workspace",
        "Find",
        "Pause the list of deliveries",
        "latest-heading",
    ];
    assert_eq!(focused, expected);

    // The filter buttons and the pause button work with the Enter key.
    let visible_tiles =
        "[...document.querySelectorAll('.tile')].filter((tile) => tile.checkVisibility()).length";
    let press = async |selector: &str| {
        browser.value(&format!("document.querySelector(`{selector}`).focus()")).await;
        browser.page.action_chain().send_keys(Key::Enter).perform().await.unwrap();
        let pressed = format!("document.querySelector(`{selector}`).getAttribute('aria-pressed')");
        assert_eq!(browser.value(&pressed).await, "true");
    };
    press("[data-set-status=free]").await;
    assert_eq!(browser.value(visible_tiles).await, 12);
    press("[data-set-status=busy]").await;
    assert_eq!(browser.value(visible_tiles).await, 10);
    press("[data-set-status=other]").await;
    assert_eq!(browser.value(visible_tiles).await, 2);
    press("[data-set-status='']").await;
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
        for view in ["compact", "wall"] {
            browser.page.goto(&format!("{}?view={view}", board.url)).await.unwrap();
            browser.wait_until("document.querySelectorAll('.tile').length === 24").await;
            browser.wait_until(&format!("document.body.dataset.view === '{view}'")).await;
            assert_contrast(&browser, &format!("{scheme}, {view}")).await;
        }
    }
    browser.page.goto(&board.url).await.unwrap();
    wait_until_live(&browser).await;
    wait_for_count(&browser, "handled", 24).await;

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
        ("button", "All 24"),
        ("button", "Free 12"),
        ("combobox", "Floor"),
        ("searchbox", "Search workspaces"),
        ("button", "Pause the list of deliveries"),
        ("region", "First floor"),
        ("heading", "Desk 1.01"),
        ("image", "12 free, 10 busy, 2 other"),
        ("complementary", "Deliveries"),
    ] {
        assert!(all.iter().any(|(role, name)| (role.as_str(), name.as_str()) == expected), "{expected:?}");
    }
    browser.quit().await;
}

/// Every text has the contrast of WCAG 2.2 AA for small text, 4.5 to 1, to its background.
async fn assert_contrast(browser: &Browser, case: &str) {
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
    assert!(pairs.len() > 80, "{} texts", pairs.len());
    for pair in pairs {
        assert!(pair[3].as_f64().unwrap() >= 4.5, "{case}: {pair}");
    }
}
