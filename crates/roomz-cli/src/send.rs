use std::iter::repeat_n;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueHint};
use roomz_protocol::{Secret, Timestamp, Uuid, WorkspaceId};
use serde_json::json;

use crate::args::{DeliverArgs, SecretArgs};
use crate::client::{event_headers, parse_url};
use crate::deliver::{self, Delivery, PlannedCounts};
use crate::values::{parse_fraction, parse_number, parse_timestamp};
use crate::{input, secret, signature};

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
hosts in NO_PROXY. On Linux, SSL_CERT_FILE replaces the certificate authorities of the system.";

/// Options for the events that the command makes.
const OF_EVENTS: [&str; 5] = ["count", "status", "workspace", "event_type", "timestamp"];

#[derive(Args)]
#[command(after_help = SEND_HELP)]
pub(crate) struct SendArgs {
    /// URL of the receiver, such as http://127.0.0.1:3000/webhooks/roomz
    #[arg(value_hint = ValueHint::Url)]
    url: String,
    #[command(flatten)]
    secret: SecretArgs,
    /// Number of distinct events
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = 1, value_parser = parse_number::<u64, 1, 1_000_000_000_000>)]
    count: u64,
    /// Fraction of the events to send twice; the duplicate follows at once, and with several --connections
    /// while the first delivery is in flight
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true, default_value_t = 0.0, value_parser = parse_fraction)]
    duplicates: f64,
    /// Additional deliveries with a wrong signature, as a fraction of the events; the receiver must answer
    /// 401
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true, default_value_t = 0.0, value_parser = parse_fraction)]
    forged: f64,
    /// presenceStatus of the events [default: alternately Busy and Free]
    #[arg(long, value_name = "TEXT")]
    status: Option<String>,
    /// Workspace of the events; repeat the option to use several in turn [default: ten random ones]
    #[arg(long, value_name = "UUID")]
    workspace: Vec<WorkspaceId>,
    /// Type of the events
    #[arg(long = "type", value_name = "TEXT", default_value = "workspace.presence.changed")]
    event_type: String,
    /// Timestamp of the events [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = parse_timestamp)]
    timestamp: Option<Timestamp>,
    /// File to send as the body of one event, byte for byte except for a byte order mark; - for standard
    /// input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = OF_EVENTS)]
    body: Option<PathBuf>,
    #[command(flatten)]
    deliver: DeliverArgs,
}

/// The number of random workspaces when the options name none.
const DEFAULT_WORKSPACES: usize = 10;

pub(crate) async fn run(args: SendArgs) -> Result<()> {
    let url = parse_url(&args.url)?;
    let count = args.count;
    let headers = event_headers(&args.deliver.connect.header)?;
    let secret = secret::load(&args.secret)?;
    // Signs the forged deliveries.
    let wrong_secret = Secret::new(Uuid::new_v4().to_string())?;
    let file = args.body.as_deref().map(|file| input::read_body(Some(file))).transpose()?;
    let workspaces = match args.workspace {
        workspaces if !workspaces.is_empty() => workspaces,
        _ => (0..DEFAULT_WORKSPACES).map(|_| WorkspaceId::from(Uuid::new_v4())).collect(),
    };
    // All workspaces have the same status in one round, and the next status in the next round.
    let statuses = args.status.map_or(vec!["Busy".to_owned(), "Free".to_owned()], |status| vec![status]);
    let changes =
        statuses.iter().flat_map(|status| workspaces.iter().map(|workspace| (*workspace, status.clone())));
    let changes: Vec<_> = changes.collect();
    let planned = PlannedCounts {
        events: count,
        duplicates: selected(count, args.duplicates),
        forged: selected(count, args.forged),
        unverified_not_sent: 0,
    };
    let deliveries =
        (0..count).zip(changes.into_iter().cycle()).flat_map(move |(index, (workspace, status))| {
            let delivery = |secret, forged| {
                let event = || {
                    let time = args.timestamp.unwrap_or_else(Timestamp::now);
                    json!({
                        "id": Uuid::new_v4().to_string(),
                        "type": args.event_type,
                        "timestamp": format!("{time:.3}"),
                        "apiVersion": "1.0",
                        "data": { "workspaceId": workspace.to_string(), "presenceStatus": status },
                    })
                };
                let body = file.clone().unwrap_or_else(|| event().to_string().into());
                let mut headers = headers.clone();
                signature::sign(&mut headers, secret, &body);
                Delivery { headers, body, forged }
            };
            let is_one_of = |fraction| selected(index + 1, fraction) > selected(index, fraction);
            let times = if is_one_of(args.duplicates) { 2 } else { 1 };
            let forgery = is_one_of(args.forged).then(|| delivery(&wrong_secret, true));
            repeat_n(delivery(&secret, false), times).chain(forgery)
        });
    deliver::run(url, deliveries, planned, &args.deliver).await
}

/// How many of the first `count` events are selected: this fraction, rounded.
fn selected(count: u64, fraction: f64) -> u64 {
    (count as f64 * fraction).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_selected_at_most_once() {
        for fraction in [0.0, 0.001, 0.1, 1.0 / 3.0, 0.5, 0.999, 1.0] {
            for count in 0..10_000 {
                assert!(
                    selected(count + 1, fraction) - selected(count, fraction) <= 1,
                    "{count} × {fraction}"
                );
            }
        }
        assert_eq!([selected(7, 0.5), selected(1_000, 0.2), selected(1_003, 0.001)], [4, 200, 1]);
    }
}
