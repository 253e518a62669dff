mod event_body;
mod plan;

use anyhow::Result;
use http::{HeaderMap, HeaderValue, header};
use roomz_protocol::{SIGNATURE_HEADER, Secret, Timestamp, Uuid};

use self::event_body::EventBody;
use self::plan::{Plan, PlanOptions};
use crate::args::SendArgs;
use crate::client::{Outgoing, parse_headers, parse_url, user_agent};
use crate::deliver::{self, Delivery};
use crate::error::usage;
use crate::signature::signature_header;
use crate::{input, secret};

pub(crate) async fn run(args: SendArgs) -> Result<()> {
    let url = parse_url(&args.url)?;
    if args.count > 1 && args.body.is_some() {
        return Err(usage(format!(
            "--body sends one event, but --count is {}: use --duplicates 1 to send it twice, or remove --body or --count",
            args.count
        )));
    }
    let json = HeaderValue::from_static("application/json");
    let mut headers =
        HeaderMap::from_iter([(header::CONTENT_TYPE, json), (header::USER_AGENT, user_agent())]);
    headers.extend(parse_headers(&args.deliver.connect.header)?);
    let secret = secret::load(&args.secret)?;
    // Signs the forged deliveries.
    let wrong_secret = Secret::new(Uuid::new_v4().to_string())?;
    let file = args.body.as_deref().map(|file| input::read_body(Some(file))).transpose()?;
    let event_body = EventBody::new(&args);
    let plan = Plan::new(PlanOptions {
        count: args.count,
        duplicates: args.duplicates,
        out_of_order: args.out_of_order,
        forged: args.forged,
        workspaces: event_body.workspace_count(),
        timestamp_ms: args.timestamp.map(Timestamp::as_millisecond),
    });
    let planned = plan.counts();
    let deliveries = plan.filter_map(move |event| {
        let body = file.clone().unwrap_or_else(|| event_body.build(&event).into());
        let secret = if event.forged { &wrong_secret } else { &secret };
        let mut headers = headers.clone();
        headers.insert(SIGNATURE_HEADER, signature_header(secret, &body)?);
        Some(Delivery { outgoing: Outgoing { headers, body }, forged: event.forged })
    });
    deliver::run(url, deliveries, planned, &args.deliver).await
}
