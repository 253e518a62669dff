use std::path::PathBuf;

use clap::{Args, ValueHint};
use roomz_protocol::{Timestamp, WorkspaceId};

use super::values::{parse_fraction, parse_number, parse_timestamp};
use super::{DeliverArgs, SecretArgs};

const SEND_HELP: &str = "\
Examples:
  roomz send http://127.0.0.1:3000/webhooks/roomz --secret-file secret
  roomz send http://127.0.0.1:3000/hook --count 10000 --connections 64
  roomz send http://127.0.0.1:3000/hook --duplicates 0.1 --forged 0.1
  roomz send https://staging.example.com/hook --count 600 --rate 10 --retry
  roomz send https://localhost:3443/webhooks/roomz --cacert chain.pem
  roomz send http://127.0.0.1:3000/webhooks/roomz --body delivery.json

Exits with 1 when a correctly signed delivery was not answered 2xx, or a forged one not 401.

Redirects are not followed. The proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY is used, except for this machine and the \
hosts in NO_PROXY. With https, the certificate authorities of the system are trusted, \
and those in --cacert. On Linux, the environment variable SSL_CERT_FILE replaces those of the system.";

#[derive(Args)]
#[command(after_help = SEND_HELP)]
pub(crate) struct SendArgs {
    /// URL of the receiver, such as http://127.0.0.1:3000/webhooks/roomz
    #[arg(value_hint = ValueHint::Url)]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    /// Number of distinct events
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = 1, value_parser = parse_number::<u64, 1, 1_000_000_000_000>)]
    pub(crate) count: u64,
    /// Fraction of the events to send twice; every other duplicate follows at once, the rest later
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true, default_value_t = 0.0, value_parser = parse_fraction)]
    pub(crate) duplicates: f64,
    /// Fraction of the events to date before the previous event of the same workspace
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true, default_value_t = 0.0, value_parser = parse_fraction, conflicts_with = "body")]
    pub(crate) out_of_order: f64,
    /// Additional deliveries with a wrong signature, as a fraction of the events; the receiver must answer
    /// 401
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
    #[arg(long, value_name = "RFC3339", conflicts_with = "body", value_parser = parse_timestamp)]
    pub(crate) timestamp: Option<Timestamp>,
    /// File to send as the body, byte for byte except for a byte order mark; - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) body: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) deliver: DeliverArgs,
}
