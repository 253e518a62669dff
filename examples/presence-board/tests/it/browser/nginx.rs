//! The board behind an nginx with its default settings, which buffers responses.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use roomz_tests::Server;

use crate::browser::{AARE, id, start_board, tile, wait_until_live};
use crate::support::driver::Browser;
use crate::support::program::{Program, change};

/// Starts an nginx whose only directive for the board is `proxy_pass`.
fn start_nginx(board: &Program) -> Option<Server> {
    start_nginx_with(board, "")
}

fn start_nginx_with(board: &Program, directives: &str) -> Option<Server> {
    Server::nginx_or_skip("", &format!("location / {{ proxy_pass {}; {directives} }}", board.url))
}

#[test]
fn streams_events_through_default_nginx() {
    let board = start_board("127.0.0.1:0");
    let Some(nginx) = start_nginx(&board) else { return };
    let mut stream = TcpStream::connect(nginx.address()).unwrap();
    // Without the header against buffering, nothing arrives and the test fails after this time.
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "event: snapshot"));
    for minutes in [3, 2, 1] {
        assert_eq!(board.deliver(&change(id(AARE), minutes, "Busy")), 200);
        assert!(lines.any(|line| line == "event: delivery"));
    }
}

#[tokio::test]
async fn page_is_live_behind_default_nginx() {
    let Some(browser) = Browser::start("presence-board: the page behind nginx in a browser").await else {
        return;
    };
    let board = start_board("127.0.0.1:0");
    let Some(nginx) = start_nginx(&board) else { return browser.quit().await };
    browser.page.goto(&format!("http://{}", nginx.address())).await.unwrap();
    wait_until_live(&browser).await;
    for status in ["Busy", "Free"] {
        assert_eq!(board.deliver(&change(id(AARE), 0, status)), 200);
        let class = status.to_lowercase();
        browser.wait_until(&format!("{}.dataset.status === '{class}'", tile(AARE))).await;
    }
    browser.quit().await;
}

/// The page waits twice for 8 s before it polls.
#[tokio::test]
async fn page_polls_behind_nginx_that_buffers() {
    let Some(browser) = Browser::start("presence-board: a buffering nginx in a browser").await else {
        return;
    };
    let board = start_board("127.0.0.1:0");
    let buffering = "proxy_ignore_headers X-Accel-Buffering; proxy_buffers 8 64k; proxy_buffer_size 64k;";
    let Some(nginx) = start_nginx_with(&board, buffering) else { return browser.quit().await };
    browser.page.goto(&format!("http://{}", nginx.address())).await.unwrap();
    assert_eq!(board.deliver(&change(id(AARE), 3, "Busy")), 200);
    browser.wait_until(&format!("{}?.dataset.status === 'busy'", tile(AARE))).await;
    let banner = browser.text("document.querySelector('#connection').textContent").await;
    assert!(banner.starts_with("No live stream"), "{banner}");
    browser.quit().await;
}
