use std::path::PathBuf;

use clap::{Args, ValueHint};
use http::StatusCode;

use super::values::{parse_path, parse_status};
use super::{ConnectArgs, SecretArgs};

const LISTEN_HELP: &str = "\
Examples:
  roomz listen --secret-file secret
  roomz listen --listen 0.0.0.0:8080 --path /hook --save deliveries.jsonl
  roomz listen --status 503
  roomz listen --listen 0.0.0.0:3001 --forward http://127.0.0.1:3000/hook

Answers 200 to a delivery with a valid signature and 401 to any other. Without a secret, answers 200 to all. Does not \
detect duplicates. Stop it with Ctrl-C or SIGTERM.

With --forward, every delivery is sent to the URL, also one with a wrong signature, and the sender gets the receiver's \
answer, or 502 when the receiver cannot be reached. The body and the headers stay as they are, except for Host and the \
headers of the connection. The options --header, --cacert and --timeout are for this URL.";

#[derive(Args)]
#[command(after_help = LISTEN_HELP)]
pub(crate) struct ListenArgs {
    /// Address to listen on; port 0 selects a free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3000")]
    pub(crate) listen: String,
    /// Path that accepts deliveries; other paths are answered 404
    #[arg(long, default_value = "/webhooks/roomz", value_parser = parse_path)]
    pub(crate) path: String,
    /// Append each delivery to this file, one JSON object per line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) save: Option<PathBuf>,
    /// Answer every POST on the path with this status
    #[arg(long, value_name = "CODE", value_parser = parse_status)]
    pub(crate) status: Option<StatusCode>,
    /// Send each delivery to the receiver at this URL, and answer as it does
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, conflicts_with = "status")]
    pub(crate) forward: Option<String>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
}
