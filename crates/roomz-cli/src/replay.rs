use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use clap::{Args, ValueHint};
use http::header;

use crate::args::{DeliverArgs, SecretArgs};
use crate::client::{parse_headers, parse_url, remove_connection_headers, user_agent};
use crate::deliver::{self, Delivery, PlannedCounts};
use crate::saved::SavedFile;
use crate::saved_delivery::SavedDelivery;
use crate::{secret, signature};

const REPLAY_HELP: &str = "\
Examples:
  roomz replay deliveries.jsonl http://127.0.0.1:3000/webhooks/roomz
  roomz replay deliveries.jsonl http://127.0.0.1:3000/hook --re-sign
  grep desk.moved deliveries.jsonl | roomz replay - http://127.0.0.1:3000/hook
  sed -n '3p;7,9p' deliveries.jsonl | roomz replay - http://127.0.0.1:3000/hook

Sends the saved bodies and signatures to the URL; the saved paths are ignored. Deliveries whose signature was wrong are not \
sent, also not with --re-sign, which would make them valid. Exits with 1 when a delivery was not answered 2xx.";

#[derive(Args)]
#[command(after_help = REPLAY_HELP, mut_arg("secret_file", |arg| arg.requires("re_sign")))]
pub(crate) struct ReplayArgs {
    /// File written by `roomz listen --save`, or - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// URL of the receiver
    #[arg(value_hint = ValueHint::Url)]
    url: String,
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
    let extra_headers = parse_headers(&args.deliver.connect.header)?;
    // Replaces the saved signatures when present.
    let secret = if args.re_sign { Some(secret::load(&args.secret)?) } else { None };
    let SavedFile { name, lines } = SavedFile::read(&args.file)?;
    let mut deliveries = Vec::new();
    for (number, delivery) in lines {
        // Before anything is sent.
        deliveries.push(delivery.map_err(|problem| {
            anyhow!("invalid line {number} of {name}: {problem}; correct or remove it: nothing was sent")
        })?);
    }
    let all = deliveries.len();
    deliveries.retain(|delivery| delivery.verified != Some(false) || args.include_unverified);
    let unverified = all - deliveries.len();
    ensure!(
        !deliveries.is_empty(),
        "no delivery of {name} had a correct signature when it was received ({unverified} skipped); to send them, add \
         --include-unverified"
    );
    let planned = PlannedCounts {
        events: deliveries.len() as u64,
        unverified_not_sent: unverified as u64,
        ..PlannedCounts::default()
    };
    let deliveries = deliveries.into_iter().map(move |SavedDelivery { mut headers, body, .. }| {
        // These belong to the new connection. Saved values, possibly edited by hand, would break the request.
        remove_connection_headers(&mut headers);
        headers.insert(header::USER_AGENT, user_agent());
        headers.extend(extra_headers.clone());
        if let Some(secret) = &secret {
            signature::sign(&mut headers, secret, &body);
        }
        Delivery { headers, body, forged: false }
    });
    deliver::run(url, deliveries, planned, &args.deliver).await
}
