//! The command line.
//!
//! Doc comments are help texts. In an `after_help`, a paragraph is one line, because clap wraps it to the width of the
//! terminal; an example stays below 80 columns, so that it is never wrapped and can be copied.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use http::StatusCode;
use roomz_protocol::{EventId, Timestamp, WorkspaceId};

use crate::inbox::args::InboxArgs;

const ROOMZ_HELP: &str = "\
Exit codes:
  0    success
  1    failure: a wrong signature, an unexpected response, an unreadable file
  2    invalid command line
  130  interrupted

The secret comes from --secret-file, or else from the environment variable ROOMZ_WEBHOOK_SECRET.

NO_COLOR=1 turns colours off. Output that is not a terminal has no colours.";

const SEND_HELP: &str = "\
Examples:
  roomz send http://127.0.0.1:3000/webhooks/roomz --secret-file secret
  roomz send http://127.0.0.1:3000/hook --count 10000 --connections 64
  roomz send http://127.0.0.1:3000/hook --duplicates 0.1 --forged 0.1
  roomz send https://staging.example.com/hook --count 600 --rate 10 --retry
  roomz send http://127.0.0.1:3000/webhooks/roomz --body delivery.json

Exits with 1 when a correctly signed delivery was not answered 2xx, or a forged one not 401.

Redirects are not followed and proxies are not used. With https, set SSL_CERT_FILE to replace the system's certificate \
authorities.";

const SIGN_HELP: &str = "\
Examples:
  roomz sign --secret-file secret body.json
  signature=$(roomz sign body.json)

To send the body with curl, use `--data-binary @body.json` and the headers `Content-Type: application/json` and \
`Roomz-Signature: $signature`.";

const VERIFY_HELP: &str = "\
Examples:
  roomz verify --secret-file secret --signature \"$signature\" body.json
  roomz verify --signature \"$signature\" < body.json && echo valid

Exits with 0 when the signature matches the body, or else with 1 and the likely cause. Never prints the correct signature.";

const LISTEN_HELP: &str = "\
Examples:
  roomz listen --secret-file secret
  roomz listen --listen 0.0.0.0:8080 --path /hook --save deliveries.jsonl
  roomz listen --status 503

Answers 200 to a delivery with a valid signature and 401 to any other. Without a secret, answers 200 to all. Does not \
detect duplicates. Stop it with Ctrl-C or SIGTERM.";

const REPLAY_HELP: &str = "\
Examples:
  roomz replay deliveries.jsonl http://127.0.0.1:3000/webhooks/roomz
  roomz replay deliveries.jsonl http://127.0.0.1:3000/hook --re-sign

Sends the saved bodies and signatures to the URL; the saved paths are ignored. Exits with 1 when a delivery was not \
answered 2xx.";

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
    /// Send signed events to a receiver and report its responses
    Send(SendArgs),
    /// Print the signature of a body
    Sign(SignArgs),
    /// Verify the signature of a body and explain why it does not match
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
    /// The webhook secret; visible in the process list, so prefer --secret-file or ROOMZ_WEBHOOK_SECRET
    #[arg(long, value_name = "VALUE", conflicts_with = "secret_file", allow_hyphen_values = true)]
    pub(crate) secret: Option<OsString>,
}

/// Options of `send` and `replay`.
#[derive(Args)]
pub(crate) struct DeliverArgs {
    /// Concurrent connections; each sends its next delivery after the response to the previous one
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) connections: u32,
    /// Maximum deliveries per second [default: unlimited]
    #[arg(long, value_name = "PER_SECOND", allow_negative_numbers = true, value_parser = parse_positive_number)]
    pub(crate) rate: Option<f64>,
    /// Retry an unexpected response or a connection error up to TIMES times [default without TIMES: 4]; honours
    /// Retry-After up to 60 s
    #[arg(long, value_name = "TIMES", num_args = 0..=1, require_equals = true, default_missing_value = "4")]
    pub(crate) retry: Option<u32>,
    /// Delay before the first retry, doubled for each further retry
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value = "0.5", value_parser = parse_seconds, requires = "retry")]
    pub(crate) backoff: Duration,
    /// Timeout of one attempt, from connecting to the end of the response; ROOMZ currently waits 30 s
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value = "30", value_parser = parse_positive_seconds)]
    pub(crate) timeout: Duration,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = SEND_HELP)]
pub(crate) struct SendArgs {
    /// URL of the receiver, such as http://127.0.0.1:3000/webhooks/roomz
    #[arg(value_hint = ValueHint::Url)]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    /// Number of distinct events
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub(crate) count: u64,
    /// Fraction of the events to send twice; every other duplicate follows at once, the rest later
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true, default_value_t = 0.0, value_parser = parse_fraction)]
    pub(crate) duplicates: f64,
    /// Fraction of the events to date before the previous event of the same workspace
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true, default_value_t = 0.0, value_parser = parse_fraction, conflicts_with = "body")]
    pub(crate) out_of_order: f64,
    /// Additional deliveries with a wrong signature, as a fraction of the events; the receiver must answer 401
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true, default_value_t = 0.0, value_parser = parse_fraction)]
    pub(crate) forged: f64,
    /// presenceStatus of the events [default: alternately Busy and Free]
    #[arg(long, value_name = "TEXT", conflicts_with = "body")]
    pub(crate) status: Option<String>,
    /// Workspace of the events; repeat the option to use several in turn [default: ten random ones]
    #[arg(long, value_name = "UUID", conflicts_with = "body")]
    pub(crate) workspace: Vec<WorkspaceId>,
    /// Type of the events
    #[arg(
        long = "type",
        value_name = "TEXT",
        default_value = "workspace.presence.changed",
        conflicts_with = "body"
    )]
    pub(crate) event_type: String,
    /// Timestamp of the events [default: now]
    #[arg(long, value_name = "RFC3339", conflicts_with = "body")]
    pub(crate) timestamp: Option<Timestamp>,
    /// Id of the event, sent as written [default: random]
    #[arg(long, value_name = "UUID", conflicts_with = "body", value_parser = parse_event_id)]
    pub(crate) id: Option<String>,
    /// File to send as the body, byte for byte; - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) body: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) deliver: DeliverArgs,
}

#[derive(Args)]
#[command(after_help = SIGN_HELP)]
pub(crate) struct SignArgs {
    /// File that contains the body [default: standard input]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = VERIFY_HELP)]
pub(crate) struct VerifyArgs {
    /// File that contains the body [default: standard input]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Value of the header Roomz-Signature
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) signature: OsString,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

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
    /// Print each delivery as one JSON object, as --save writes it, with the member "verified"
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = REPLAY_HELP)]
pub(crate) struct ReplayArgs {
    /// File written by `roomz listen --save`
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// URL of the receiver
    #[arg(value_hint = ValueHint::Url)]
    pub(crate) url: String,
    /// Replace the saved signatures: sign the bodies again with the secret
    #[arg(long)]
    pub(crate) re_sign: bool,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    #[command(flatten)]
    pub(crate) deliver: DeliverArgs,
}

fn parse_fraction(text: &str) -> Result<f64, &'static str> {
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("use a number from 0 to 1, such as 0.2") }
}

fn parse_positive_number(text: &str) -> Result<f64, &'static str> {
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    if number > 0.0 && number.is_finite() { Ok(number) } else { Err("use a number above 0, such as 50") }
}

fn parse_seconds(text: &str) -> Result<Duration, &'static str> {
    let number = text.parse().unwrap_or(f64::NAN);
    // One year. `Instant` plus a much longer duration could overflow.
    let range = 0.0..=31_536_000.0;
    if range.contains(&number) {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err("use a number of seconds from 0 to 31536000, such as 2.5")
    }
}

fn parse_positive_seconds(text: &str) -> Result<Duration, &'static str> {
    parse_seconds(text).and_then(|duration| {
        if duration.is_zero() { Err("use a number of seconds above 0, such as 2.5") } else { Ok(duration) }
    })
}

fn parse_event_id(text: &str) -> Result<String, String> {
    text.parse::<EventId>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn parse_path(text: &str) -> Result<String, &'static str> {
    let valid =
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
    if valid {
        Ok(text.to_owned())
    } else {
        Err("use a path that begins with / and has no query, such as /webhooks/roomz")
    }
}

fn parse_status(text: &str) -> Result<StatusCode, &'static str> {
    let status = text.parse::<StatusCode>().ok();
    let final_status = status.filter(|status| (200..600).contains(&status.as_u16()));
    final_status.ok_or("use a status from 200 to 599, such as 503")
}
