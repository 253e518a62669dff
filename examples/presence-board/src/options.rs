//! Command line options.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::logs::LogFormat;

/// A live presence board: receives ROOMZ webhooks and shows in the browser which workspaces are free.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Options {
    /// Address to listen on; port 0 selects a free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3000")]
    pub(crate) listen: String,

    /// File that contains a webhook secret, read again on SIGHUP; repeat it to accept several secrets, the
    /// newest first [default: the environment variable ROOMZ_WEBHOOK_SECRET]
    #[arg(long = "secret-file", value_name = "FILE", conflicts_with = "demo")]
    pub(crate) secret_files: Vec<PathBuf>,

    /// Store for the ids of handled events: memory, redis://…, redis+cluster://…, redis+sentinel://…,
    /// postgres://… or sqlite://FILE; the last two also keep the presence
    #[arg(long, value_name = "URL", default_value = "memory", env = "STORE", hide_env_values = true)]
    pub(crate) store: String,

    /// Inbox to show: postgres://… or sqlite://FILE
    #[arg(long, value_name = "URL")]
    pub(crate) inbox: Option<String>,

    /// JSON file with the workspaces' names: {"WORKSPACE-UUID": {"name": "Desk 1", "floor": "First floor"}}
    #[arg(long, value_name = "FILE")]
    pub(crate) names: Option<PathBuf>,

    /// Seconds between the signal to stop and the end of the server; /readyz is then 503, and deliveries are
    /// handled
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = parse_seconds)]
    pub(crate) shutdown_delay: Duration,

    /// Format of the log on stderr; RUST_LOG sets its level
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// Simulate a building that delivers events, with a random secret
    #[arg(long)]
    pub(crate) demo: bool,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|_| "not a whole number of seconds, such as 5".to_owned())
}
