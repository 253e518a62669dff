//! What can be asked for on the command line.

use std::path::PathBuf;

use clap::Parser;

/// A board that takes ROOMZ webhooks and shows in the browser which workspace is free.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Options {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3000")]
    pub(crate) listen: String,

    /// The file that holds the webhook secret [default: the variable ROOMZ_WEBHOOK_SECRET]
    #[arg(long, value_name = "FILE", conflicts_with = "demo")]
    pub(crate) secret_file: Option<PathBuf>,

    /// Where the ids of handled events are remembered: memory, redis://…, postgres://… or sqlite://FILE
    #[arg(long, value_name = "URL", default_value = "memory")]
    pub(crate) store: String,

    /// A JSON file with the workspaces' names: {"WORKSPACE-UUID": {"name": "Desk 1", "floor": "First floor"}}
    #[arg(long, value_name = "FILE")]
    pub(crate) names: Option<PathBuf>,

    /// Simulate a building that delivers events, with a random secret
    #[arg(long)]
    pub(crate) demo: bool,
}

/// The first line of what `clap` has to say; the rest is usage and tips.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    format!("{line}; `presence-board --help` lists what there is")
}
