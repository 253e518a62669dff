mod select;

use anyhow::Result;
use http::header;
use roomz_protocol::SIGNATURE_HEADER;

use self::select::Selection;
use crate::args::ReplayArgs;
use crate::client::{Outgoing, parse_headers, parse_url, remove_connection_headers, user_agent};
use crate::deliver::{self, Delivery, PlannedCounts};
use crate::error::usage;
use crate::secret;
use crate::signature::signature_header;

pub(crate) async fn run(args: ReplayArgs) -> Result<()> {
    let url = parse_url(&args.url)?;
    let has_secret = args.secret.secret_file.is_some() || args.secret.secret.is_some();
    if has_secret && !args.re_sign {
        return Err(usage("a secret requires --re-sign: add --re-sign or remove the secret"));
    }
    let extra_headers = parse_headers(&args.deliver.connect.header)?;
    // Replaces the saved signatures when present.
    let secret = if args.re_sign { Some(secret::load(&args.secret)?) } else { None };
    let Selection { deliveries, unverified } = select::select(&args)?;
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
