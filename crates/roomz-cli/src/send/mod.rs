mod event_body;
mod event_ids;
mod plan;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use roomz_protocol::{SIGNATURE_HEADER, Secret, Timestamp, Uuid};

use self::event_body::EventBody;
use self::plan::{Plan, PlanOptions, PlannedEvent};
use crate::args::SendArgs;
use crate::client::{ExtraHeaders, Outgoing, Target, signature_header, user_agent};
use crate::deliver::{self, Delivery, Source};
use crate::error::CliError;
use crate::{input, secret};

pub(crate) async fn run(args: &SendArgs) -> Result<(), CliError> {
    let target = Target::parse(&args.url)?;
    check_conflicts(args)?;
    let headers = request_headers(&ExtraHeaders::parse(&args.deliver.connect.header)?);
    let secret = secret::load(&args.secret)?;
    let body = match &args.body {
        Some(file) => BodySource::File(input::read(Some(file))?),
        None => BodySource::Event(EventBody::new(args)),
    };
    let plan = Plan::new(PlanOptions {
        count: args.count,
        duplicates: args.duplicates,
        out_of_order: args.out_of_order,
        forged: args.forged,
        workspaces: body.workspace_count(),
        timestamp_ms: args.timestamp.map(Timestamp::as_millisecond),
    });
    let planned = plan.counts();
    let source = SignedSource { plan, body, secret, wrong_secret: random_secret()?, headers };
    deliver::run(target, source, &args.deliver).await?.finish(planned, args.deliver.json)
}

/// Rejects combinations that clap cannot express.
fn check_conflicts(args: &SendArgs) -> Result<(), CliError> {
    let option = if args.id.is_some() { "--id" } else { "--body" };
    if args.count > 1 && (args.id.is_some() || args.body.is_some()) {
        return Err(CliError::usage(format!(
            "{option} sends one event, but --count is {}: use --duplicates 1 to send it twice, or remove {option} or \
             --count",
            args.count
        )));
    }
    if args.id.is_some() && args.forged > 0.0 {
        return Err(CliError::usage(
            "--id sets one id, but each forged delivery needs a different one: remove --id or --forged",
        ));
    }
    Ok(())
}

/// The events of a plan, with signatures.
struct SignedSource {
    plan: Plan,
    body: BodySource,
    secret: Secret,
    /// Signs the forged deliveries.
    wrong_secret: Secret,
    headers: HeaderMap,
}

impl Source for SignedSource {
    fn total(&self) -> u64 {
        let planned = self.plan.counts();
        planned.events + planned.duplicates + planned.forged
    }

    fn next(&self) -> Option<Delivery> {
        let event = self.plan.next()?;
        let body = self.body.bytes(&event);
        let secret = if event.forged { &self.wrong_secret } else { &self.secret };
        let mut headers = self.headers.clone();
        headers.insert(SIGNATURE_HEADER, signature_header(secret, &body)?);
        let outgoing = Outgoing { method: Method::POST, headers, body };
        Some(Delivery { outgoing, forged: event.forged })
    }
}

enum BodySource {
    File(Bytes),
    Event(EventBody),
}

impl BodySource {
    fn workspace_count(&self) -> usize {
        match self {
            Self::File(_) => 1,
            Self::Event(event_body) => event_body.workspace_count(),
        }
    }

    fn bytes(&self, event: &PlannedEvent) -> Bytes {
        match self {
            Self::File(bytes) => bytes.clone(),
            Self::Event(event_body) => event_body.build(event).into(),
        }
    }
}

fn request_headers(extra: &ExtraHeaders) -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    let mut headers =
        HeaderMap::from_iter([(header::CONTENT_TYPE, json), (header::USER_AGENT, user_agent())]);
    extra.apply(&mut headers);
    headers
}

fn random_secret() -> Result<Secret, CliError> {
    Secret::new(Uuid::new_v4().to_string()).map_err(|error| CliError::failed(error.to_string()))
}
