//! The page in Chromium, served by the program.

#![cfg(unix)] // the tests stop the program with signals

mod accessibility;
mod building;
mod changes;
mod connection;
mod dead_letters;
mod languages;
mod nginx;
mod pictures;
mod views;

use roomz_axum::WorkspaceId;

use crate::support::driver::Browser;
use crate::support::program::Program;

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
