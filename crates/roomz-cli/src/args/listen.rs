use std::path::PathBuf;

use clap::{Args, ValueHint};
use http::StatusCode;

use super::SecretArgs;
use super::values::{parse_path, parse_status};

const LISTEN_HELP: &str = "\
Examples:
  roomz listen --secret-file secret
  roomz listen --listen 0.0.0.0:8080 --path /hook --save deliveries.jsonl
  roomz listen --status 503

Answers 200 to a delivery with a valid signature and 401 to any other. Without a secret, answers 200 to all. Does not \
detect duplicates. Stop it with Ctrl-C or SIGTERM.";

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
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    /// Print each delivery as one JSON object, as --save writes it
    #[arg(long)]
    pub(crate) json: bool,
}
