use std::ops::RangeInclusive;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Args, ValueHint};
use http::header;
use roomz_protocol::SIGNATURE_HEADER;

use crate::args::{DeliverArgs, SecretArgs};
use crate::client::{Outgoing, parse_headers, parse_url, remove_connection_headers, user_agent};
use crate::deliver::{self, Delivery, PlannedCounts};
use crate::error::usage;
use crate::saved_delivery::SavedDelivery;
use crate::saved_file::SavedFile;
use crate::secret;
use crate::signature::signature_header;
use crate::values::parse_lines;

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
    file: PathBuf,
    /// URL of the receiver
    #[arg(value_hint = ValueHint::Url)]
    url: String,
    /// Send only the delivery in this line of the file, or those in a range of lines; repeat the option for
    /// several
    #[arg(long, value_name = "NUMBER", value_parser = parse_lines)]
    line: Vec<RangeInclusive<usize>>,
    /// Replace the saved signatures: sign the bodies again with the secret
    #[arg(long)]
    re_sign: bool,
    /// Also send deliveries whose signature was wrong when they were received
    #[arg(long)]
    include_unverified: bool,
    #[command(flatten)]
    secret: SecretArgs,
    #[command(flatten)]
    deliver: DeliverArgs,
}

pub(crate) async fn run(args: ReplayArgs) -> Result<()> {
    let url = parse_url(&args.url)?;
    let has_secret = args.secret.secret_file.is_some() || args.secret.secret.is_some();
    if has_secret && !args.re_sign {
        return Err(usage("a secret requires --re-sign: add --re-sign or remove the secret"));
    }
    let extra_headers = parse_headers(&args.deliver.connect.header)?;
    // Replaces the saved signatures when present.
    let secret = if args.re_sign { Some(secret::load(&args.secret)?) } else { None };
    let (deliveries, unverified) = select(&args)?;
    let planned = PlannedCounts { events: deliveries.len() as u64, unverified, ..PlannedCounts::default() };
    let deliveries = deliveries.into_iter().filter_map(move |saved| {
        let mut headers = saved.headers;
        // These belong to the new connection. Saved values, possibly edited by hand, would break the request.
        remove_connection_headers(&mut headers);
        headers.remove(header::HOST);
        headers.insert(header::USER_AGENT, user_agent());
        headers.extend(extra_headers.clone());
        if let Some(secret) = &secret {
            headers.insert(SIGNATURE_HEADER, signature_header(secret, &saved.body)?);
        }
        let outgoing = Outgoing { headers, body: saved.body };
        Some(Delivery { outgoing, forged: false })
    });
    deliver::run(url, deliveries, planned, &args.deliver).await
}

/// Returns the deliveries to send, and how many were left out because their signature was wrong when they
/// were received. Reads the whole file, so that an invalid line is reported before anything is sent. Lines
/// that `--line` does not select may be invalid.
fn select(args: &ReplayArgs) -> Result<(Vec<SavedDelivery>, u64)> {
    let file = SavedFile::read(&args.file)?;
    for range in &args.line {
        let last = file.lines().last().map_or(0, |(number, _)| number);
        ensure!(
            file.lines().any(|(number, _)| range.contains(&number)),
            "no delivery in lines {}-{} of {}: its last delivery is in line {last}; correct --line",
            range.start(),
            range.end(),
            file.name
        );
    }
    let (mut deliveries, mut unverified) = (Vec::new(), 0);
    for (number, line) in file.lines() {
        if !args.line.is_empty() && !args.line.iter().any(|range| range.contains(&number)) {
            continue;
        }
        let delivery = file.parse(number, line)?;
        if delivery.verified == Some(false) && !args.include_unverified {
            unverified += 1;
        } else {
            deliveries.push(delivery);
        }
    }
    ensure!(
        !deliveries.is_empty(),
        "no selected delivery of {} had a correct signature when it was received ({} skipped); to send them, add \
         --include-unverified",
        file.name,
        unverified
    );
    Ok((deliveries, unverified))
}
