use std::iter::repeat_n;
use std::path::PathBuf;

use anyhow::Result;
use bytes::Bytes;
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

#[derive(Args)]
#[command(after_help = SEND_HELP)]
pub(crate) struct SendArgs {
    /// URL of the receiver, such as http://127.0.0.1:3000/webhooks/roomz
    #[arg(value_hint = ValueHint::Url)]
    url: String,
    #[command(flatten)]
    secret: SecretArgs,
    /// Number of distinct events
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = 1, value_parser = parse_number::<u64, 1, 1_000_000_000_000>, conflicts_with = "body")]
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
    #[arg(long, value_name = "TEXT", conflicts_with = "body")]
    status: Option<String>,
    /// Workspace of the events; repeat the option to use several in turn [default: ten random ones]
    #[arg(long, value_name = "UUID", conflicts_with = "body")]
    workspace: Vec<WorkspaceId>,
    /// Type of the events
    #[arg(
        long = "type",
        value_name = "TEXT",
        default_value = "workspace.presence.changed",
        conflicts_with = "body"
    )]
    event_type: String,
    /// Timestamp of the events [default: now]
    #[arg(long, value_name = "RFC3339", conflicts_with = "body", value_parser = parse_timestamp)]
    timestamp: Option<Timestamp>,
    /// File to send as the body of one event, byte for byte except for a byte order mark; - for standard
    /// input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
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
    let ends = ends_of_events(&args);
    let planned = PlannedCounts {
        events: count,
        duplicates: fraction_of(count, args.duplicates),
        forged: fraction_of(count, args.forged),
        unverified: 0,
    };
    let event_type = json!(args.event_type);
    let deliveries = (0..count).zip(ends.into_iter().cycle()).flat_map(move |(index, end)| {
        let delivery = |secret, forged| {
            let id = Uuid::new_v4();
            let time = args.timestamp.unwrap_or_else(Timestamp::now);
            // A JSON library takes longer than the signature.
            let event =
                || format!(r#"{{"id":"{id}","type":{event_type},"timestamp":"{time:.3}",{end}"#).into();
            let body: Bytes = file.clone().unwrap_or_else(event);
            let mut headers = headers.clone();
            signature::sign(&mut headers, secret, &body);
            Delivery { headers, body, forged }
        };
        let is_one_of = |selected| is_selected(index, selected, count);
        let times = if is_one_of(planned.duplicates) { 2 } else { 1 };
        let forgery = is_one_of(planned.forged).then(|| delivery(&wrong_secret, true));
        repeat_n(delivery(&secret, false), times).chain(forgery)
    });
    deliver::run(url, deliveries, planned, &args.deliver).await
}

/// The JSON of the events after their timestamps. All workspaces have the same status in one round, and the
/// next status in the next round.
fn ends_of_events(args: &SendArgs) -> Vec<String> {
    let mut workspaces = args.workspace.clone();
    if workspaces.is_empty() {
        workspaces = (0..DEFAULT_WORKSPACES).map(|_| WorkspaceId::from(Uuid::new_v4())).collect();
    }
    let statuses = args.status.as_ref().map_or(vec!["Busy", "Free"], |status| vec![status]);
    let ends = statuses.into_iter().map(|status| json!(status)).flat_map(|status| {
        workspaces.iter().map(move |workspace| {
            format!(
                r#""apiVersion":"1.0","data":{{"workspaceId":"{workspace}","presenceStatus":{status}}}}}"#
            )
        })
    });
    ends.collect()
}

/// Returns the fraction of `count`, rounded to a whole number.
fn fraction_of(count: u64, fraction: f64) -> u64 {
    (count as f64 * fraction).round() as u64
}

/// Whether the item at `index` is one of `selected` items that are spread evenly over `count`.
fn is_selected(index: u64, selected: u64, count: u64) -> bool {
    let selected_before = |index: u64| u128::from(index) * u128::from(selected) / u128::from(count.max(1));
    selected_before(index + 1) > selected_before(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_exact_for_any_count() {
        for (count, fraction, number) in
            [(1, 1.0, 1), (1, 0.0, 0), (7, 0.5, 4), (1000, 0.2, 200), (1003, 0.001, 1)]
        {
            let selected = fraction_of(count, fraction);
            let events = (0..count).filter(|index| is_selected(*index, selected, count));
            assert_eq!((selected, events.count() as u64), (number, number), "{count} × {fraction}");
        }
    }

    #[test]
    fn selected_events_are_spread_evenly() {
        for hundred in 0..10 {
            let indexes = hundred * 100..(hundred + 1) * 100;
            assert_eq!(indexes.filter(|index| is_selected(*index, 100, 1_000)).count(), 10);
        }
    }
}
