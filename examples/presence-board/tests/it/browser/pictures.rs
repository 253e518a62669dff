//! Screenshots of the page.

use std::path::Path;

use serde_json::json;

use crate::browser::building::{LargeBuilding, deliver_building};
use crate::browser::{start_board, wait_for_count, wait_until_live};
use crate::support::driver::Browser;

/// Writes `page.png`, and pictures of every view to the target directory.
#[tokio::test]
#[ignore = "writes examples/presence-board/page.png"]
async fn picture() {
    let Some(browser) = Browser::start("presence-board: the picture of the page").await else { return };
    let board = start_board("127.0.0.1:0");
    deliver_building(&board);
    let large = LargeBuilding::start();
    let (small, large_url) = (board.url.clone(), large.board.url.clone());
    for (url, handled, count, floor) in [(&small, 24, 24, "First+floor"), (&large_url, 471, 500, "Floor+3")] {
        let floor = format!("?floor={floor}");
        for (name, query, width, height) in [
            ("page", "", 1280, 800),
            ("laptop", "", 1366, 768),
            ("laptop-floor", &floor, 1366, 768),
            ("phone", "", 390, 844),
            ("phone-compact", "?view=compact", 390, 844),
            ("phone-floor", &floor, 390, 844),
            ("wall", "?view=wall", 1920, 1080),
            ("wall-laptop", "?view=wall", 1366, 768),
        ] {
            for scheme in ["light", "dark"] {
                browser
                    .set_media(&[("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")])
                    .await;
                browser.set_size(width, height).await;
                browser.page.goto(&format!("{url}{query}")).await.unwrap();
                wait_until_live(&browser).await;
                wait_for_count(&browser, "handled", handled).await;
                let sizes = "[document.documentElement.scrollHeight, document.documentElement.scrollWidth,
                    getComputedStyle(document.getElementById('floors')).fontSize]";
                println!("{name} {count} {scheme}: {}", browser.value(sizes).await);
                take_screenshot(&browser, &format!("{name}-{count}-{scheme}")).await;
            }
        }
    }
    browser.set_media(&[("prefers-color-scheme", "light"), ("prefers-reduced-motion", "reduce")]).await;
    for (name, width, height) in [("page", 1280, 800), ("phone", 390, 844)] {
        browser.set_size(width, height).await;
        let stopped = start_board("127.0.0.1:0");
        deliver_building(&stopped);
        browser.page.goto(&stopped.url).await.unwrap();
        wait_until_live(&browser).await;
        wait_for_count(&browser, "handled", 24).await;
        drop(stopped);
        browser.wait_until("document.body.dataset.state === 'reconnecting'").await;
        browser.value("scrollTo(0, 300)").await;
        take_screenshot(&browser, &format!("{name}-stopped")).await;
    }
    browser.set_size(1920, 1080).await;
    browser.page.goto(&format!("{large_url}?view=wall")).await.unwrap();
    wait_until_live(&browser).await;
    wait_for_count(&browser, "handled", 471).await;
    drop(large);
    browser.wait_until("document.body.dataset.state === 'reconnecting'").await;
    take_screenshot(&browser, "wall-500-stopped").await;
    browser.quit().await;
}

/// Writes a picture of the window; `page-24-light` is the one of the README.
async fn take_screenshot(browser: &Browser, name: &str) {
    // The tiles get their final size in the frame after the message.
    browser
        .cdp(
            "Runtime.evaluate",
            json!({ "expression": "new Promise((done) => setTimeout(done, 100))", "awaitPromise": true }),
        )
        .await;
    let png = browser.page.screenshot_as_png().await.unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
    std::fs::write(&file, &png).unwrap();
    if name == "page-24-light" {
        assert!(png.len() <= 200 * 1024, "{} bytes", png.len());
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("page.png"), &png).unwrap();
    }
}
