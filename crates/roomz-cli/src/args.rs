//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use http::StatusCode;
use roomz_protocol::{EventId, Timestamp, WorkspaceId};

const EXIT_CODES: &str = "\
Exit codes:
  0    everything was as it should be
  1    something was not: a signature does not match, a delivery was not answered as it should, a file is unreadable
  2    the command line cannot be followed
  130  interrupted

The secret is read from --secret-file, else from the environment variable ROOMZ_WEBHOOK_SECRET.
NO_COLOR=1 switches colours off; without a terminal there are none.";

/// Sign, verify, send, replay and receive ROOMZ webhooks
#[derive(Parser)]
#[command(name = "roomz", version, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Send signed events to a receiver, and say how it answered
    Send(SendArgs),
    /// Print the signature of a body
    Sign(SignArgs),
    /// Say whether a signature is that of a body, and why not
    Verify(VerifyArgs),
    /// Receive deliveries, print them, and save them to a file
    Listen(ListenArgs),
    /// Send saved deliveries again, byte for byte
    Replay(ReplayArgs),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  roomz completions bash > ~/.local/share/bash-completion/completions/roomz"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

// No `Debug` on what holds a secret.
#[derive(Args)]
pub(crate) struct SecretArgs {
    /// File that holds the webhook secret and nothing else, not even a newline at the end
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) secret_file: Option<PathBuf>,
    /// The webhook secret itself; visible in the process list, so better --secret-file or ROOMZ_WEBHOOK_SECRET
    #[arg(long, value_name = "VALUE", conflicts_with = "secret_file", allow_hyphen_values = true)]
    pub(crate) secret: Option<OsString>,
}

/// How deliveries are made, by `send` and `replay`.
#[derive(Args)]
pub(crate) struct DeliverArgs {
    /// Connections that deliver at the same time; with one, each delivery waits for the answer to the one before
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) connections: u32,
    /// Deliveries per second at most [default: as fast as they are answered]
    #[arg(long, value_name = "PER_SECOND", allow_negative_numbers = true, value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Deliver again what is not answered as it should, up to TIMES times [default without TIMES: 4]; waits as
    /// Retry-After says, at most a minute
    #[arg(long, value_name = "TIMES", num_args = 0..=1, require_equals = true, default_missing_value = "4")]
    pub(crate) retry: Option<u32>,
    /// Wait before the first retry, doubled for each further one
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value = "0.5", value_parser = seconds, requires = "retry")]
    pub(crate) back_off: Duration,
    /// Time for one delivery from connecting to the end of the answer; ROOMZ gives 30 s at present
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value = "30", value_parser = some_seconds)]
    pub(crate) timeout: Duration,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  roomz send http://127.0.0.1:3000/webhooks/roomz --secret-file secret
  roomz send http://127.0.0.1:3000/hook --count 10000 --connections 64 --duplicates 0.1 --forged 0.1
  roomz send https://staging.example.com/webhooks/roomz --count 600 --rate 10 --retry --json
  roomz send http://127.0.0.1:3000/webhooks/roomz --body delivery.json

Ends with 1 when a delivery that should have been accepted was not answered 2xx, or a forged one not 401.
Redirections are not followed and proxies not used. For https, SSL_CERT_FILE names other authorities than the system's.")]
pub(crate) struct SendArgs {
    /// Where the receiver takes deliveries, such as http://127.0.0.1:3000/webhooks/roomz
    #[arg(value_hint = ValueHint::Url)]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    /// How many distinct events
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub(crate) count: u64,
    /// Fraction of the events that is sent twice: in turn at once, while the first may still be under way, and later
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true, default_value_t = 0.0, value_parser = fraction)]
    pub(crate) duplicates: f64,
    /// Fraction of the events dated before one that was sent earlier for the same workspace
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true, default_value_t = 0.0, value_parser = fraction, conflicts_with = "body")]
    pub(crate) out_of_order: f64,
    /// Deliveries with a wrong signature, in addition, as a fraction of the events; they should be answered 401
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true, default_value_t = 0.0, value_parser = fraction)]
    pub(crate) forged: f64,
    /// presenceStatus of the events [default: Busy and Free in turn]
    #[arg(long, value_name = "TEXT", conflicts_with = "body")]
    pub(crate) status: Option<String>,
    /// Workspace of the events; several are taken in turn [default: ten random ones]
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
    /// Id of the event, in any spelling of a UUID [default: random]
    #[arg(long, value_name = "UUID", conflicts_with = "body", value_parser = event_id)]
    pub(crate) id: Option<String>,
    /// File whose bytes are the body, signed as they are; - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) body: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) deliver: DeliverArgs,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  roomz sign --secret-file secret body.json
  curl -H \"Roomz-Signature: $(roomz sign body.json)\" --data-binary @body.json http://127.0.0.1:3000/webhooks/roomz")]
pub(crate) struct SignArgs {
    /// File that holds the body [default: standard input]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  roomz verify --secret-file secret --signature \"$signature\" body.json
  roomz verify --signature \"$signature\" < body.json && echo right

Ends with 0 when the signature is that of the body, and with 1 and a reason when not. The right one is never printed.")]
pub(crate) struct VerifyArgs {
    /// File that holds the body [default: standard input]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// The value of the header Roomz-Signature
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) signature: OsString,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  roomz listen --secret-file secret
  roomz listen --listen 0.0.0.0:8080 --path /hook --save deliveries.jsonl
  roomz listen --status 503

Answers 200 to what is rightly signed, or to everything where there is no secret, and 401 to the rest. Duplicates are not
recognised. Ctrl-C or SIGTERM stops it.")]
pub(crate) struct ListenArgs {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3000")]
    pub(crate) listen: String,
    /// Path that takes deliveries; others are answered 404
    #[arg(long, default_value = "/webhooks/roomz", value_parser = path)]
    pub(crate) path: String,
    /// Append each delivery to this file, one JSON object per line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) save: Option<PathBuf>,
    /// Answer everything on the path with this status
    #[arg(long, value_name = "CODE", value_parser = status)]
    pub(crate) status: Option<StatusCode>,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    /// Print one JSON object for each delivery, as --save writes it, with the member verified
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  roomz replay deliveries.jsonl http://127.0.0.1:3000/webhooks/roomz
  roomz replay deliveries.jsonl http://127.0.0.1:3000/webhooks/roomz --resign --secret-file secret

Bodies, and without --resign the signatures, are those of the file; the path is that of the URL. Ends with 1 when a
delivery was not answered 2xx.")]
pub(crate) struct ReplayArgs {
    /// File that `roomz listen --save` wrote
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Where the receiver takes deliveries
    #[arg(value_hint = ValueHint::Url)]
    pub(crate) url: String,
    /// Sign the bodies anew, with the secret
    #[arg(long)]
    pub(crate) resign: bool,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    #[command(flatten)]
    pub(crate) deliver: DeliverArgs,
}

fn fraction(text: &str) -> Result<f64, &'static str> {
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("give a number from 0 to 1, such as 0.2") }
}

fn positive(text: &str) -> Result<f64, &'static str> {
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    if number > 0.0 && number.is_finite() { Ok(number) } else { Err("give a number above 0, such as 50") }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let number = text.parse().unwrap_or(f64::NAN);
    // A year is more than anybody waits, and less than an instant can be moved.
    let range = 0.0..=31_536_000.0;
    if range.contains(&number) {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err("give seconds, such as 2.5")
    }
}

fn some_seconds(text: &str) -> Result<Duration, &'static str> {
    seconds(text)
        .and_then(|time| if time.is_zero() { Err("give seconds above 0, such as 2.5") } else { Ok(time) })
}

fn event_id(text: &str) -> Result<String, String> {
    text.parse::<EventId>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn path(text: &str) -> Result<String, &'static str> {
    let plain =
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
    if plain { Ok(text.to_owned()) } else { Err("give a path that begins with /, such as /webhooks/roomz") }
}

fn status(text: &str) -> Result<StatusCode, &'static str> {
    let status = text.parse::<StatusCode>().ok();
    let final_one = status.filter(|status| (200..600).contains(&status.as_u16()));
    final_one.ok_or("give a status from 200 to 599, such as 503")
}
