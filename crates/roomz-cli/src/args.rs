//! The command line.
//!
//! Doc comments are help texts. In an `after_help`, a paragraph is one line, because clap wraps it to the
//! width of the terminal; an example stays below 80 columns, so that it is never wrapped and can be copied.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::doctor::DoctorArgs;
use crate::inbox::args::InboxArgs;
use crate::listen::ListenArgs;
use crate::new::NewArgs;
use crate::replay::ReplayArgs;
use crate::send::SendArgs;
use crate::sign::SignArgs;
use crate::values::{parse_number, parse_rate, parse_timeout};
use crate::verify::VerifyArgs;

const ROOMZ_HELP: &str = "\
Exit codes:
  0    success
  1    failure: a wrong signature, an unexpected response, an unreadable file
  2    invalid command line
  130  interrupted

The secret comes from --secret-file, or else from the environment variable ROOMZ_WEBHOOK_SECRET.

NO_COLOR=1 turns colours off. Output that is not a terminal has no colours.";

const COMPLETIONS_HELP: &str = "\
Example:
  roomz completions bash > ~/.local/share/bash-completion/completions/roomz";

/// Sign, verify, send, replay and receive ROOMZ webhooks, and manage an inbox
#[derive(Parser)]
#[command(name = "roomz", version, after_help = ROOMZ_HELP, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Write a new service that receives webhooks
    New(NewArgs),
    /// Send signed events to a receiver and report its responses
    Send(SendArgs),
    /// Check a receiver and the proxies in front of it, and say what to change
    Doctor(DoctorArgs),
    /// Print the signature of a body
    Sign(SignArgs),
    /// Verify signatures and explain why one does not match
    Verify(VerifyArgs),
    /// Receive deliveries, print them and save them to a file
    Listen(ListenArgs),
    /// Send saved deliveries again, byte for byte
    Replay(ReplayArgs),
    /// Show the inbox of a receiver, and retry or discard its dead letters
    Inbox(InboxArgs),
    /// Print a shell completion script
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

// No `Debug` on types that hold a secret.
#[derive(Args)]
pub(crate) struct SecretArgs {
    /// File that contains only the webhook secret, without a newline at the end
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) secret_file: Option<PathBuf>,
}

/// Options of the commands that connect to a receiver: `send`, `replay`, `doctor` and `listen --forward`.
#[derive(Args)]
pub(crate) struct ConnectArgs {
    /// Header to send, also instead of one that roomz sets, such as Host; repeat the option for several
    #[arg(long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// PEM file with certificates to trust besides those of the system: of authorities, or the
    /// self-signed one of the receiver
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cacert: Option<PathBuf>,
    /// Timeout of one attempt, from connecting to the end of the response; ROOMZ currently waits 30 s
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value = "30", value_parser = parse_timeout)]
    pub(crate) timeout: Duration,
}

/// Options of `send` and `replay`.
#[derive(Args)]
pub(crate) struct DeliverArgs {
    /// Concurrent connections; each sends its next delivery after the response to the previous one
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = 1, value_parser = parse_number::<u32, 1, 60_000>)]
    pub(crate) connections: u32,
    /// Maximum deliveries per second; latencies count from the scheduled times [default: unlimited]
    #[arg(long, value_name = "PER_SECOND", allow_negative_numbers = true, value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,
    /// Retry an unexpected response or a connection error up to TIMES times [default without TIMES: 4]: after
    /// 0.5 s, then twice as long each time, minus a random part of up to half; a Retry-After of at least 1 s,
    /// in seconds, replaces the delay, up to 60 s
    #[arg(long, value_name = "TIMES", num_args = 0..=1, require_equals = true, default_missing_value = "4", value_parser = parse_number::<u32, 0, 1_000_000>)]
    pub(crate) retry: Option<u32>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub(crate) json: bool,
}
