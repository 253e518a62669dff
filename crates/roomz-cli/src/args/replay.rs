use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::values::parse_lines;
use super::{DeliverArgs, SecretArgs};

const REPLAY_HELP: &str = "\
Examples:
  roomz replay deliveries.jsonl http://127.0.0.1:3000/webhooks/roomz
  roomz replay deliveries.jsonl http://127.0.0.1:3000/hook --re-sign
  roomz replay deliveries.jsonl http://127.0.0.1:3000/hook --line 3 --line 7-9
  grep desk.moved deliveries.jsonl | roomz replay - http://127.0.0.1:3000/hook

Sends the saved bodies and signatures to the URL; the saved paths are ignored. Exits with 1 when a delivery was not \
answered 2xx.

Deliveries with a wrong signature are not sent, also not with --re-sign, which would make them valid: add \
--include-unverified to send them. Deliveries that `roomz listen` received without a secret are sent.";

#[derive(Args)]
#[command(after_help = REPLAY_HELP)]
pub(crate) struct ReplayArgs {
    /// File written by `roomz listen --save`, or - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// URL of the receiver
    #[arg(value_hint = ValueHint::Url)]
    pub(crate) url: String,
    /// Send only the delivery in this line of the file, or those in a range of lines; repeat the option for
    /// several
    #[arg(long, value_name = "NUMBER", value_parser = parse_lines)]
    pub(crate) line: Vec<RangeInclusive<usize>>,
    /// Replace the saved signatures: sign the bodies again with the secret
    #[arg(long)]
    pub(crate) re_sign: bool,
    /// Also send deliveries whose signature was wrong when they were received
    #[arg(long)]
    pub(crate) include_unverified: bool,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    #[command(flatten)]
    pub(crate) deliver: DeliverArgs,
}
