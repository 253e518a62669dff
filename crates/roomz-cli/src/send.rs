use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use roomz_protocol::{SIGNATURE_HEADER, Secret, Timestamp, Uuid, WorkspaceId};
use serde_json::json;

use crate::args::SendArgs;
use crate::deliver::{self, Delivery, Source};
use crate::failure::Failure;
use crate::plan::{Event, Ids, Plan, Wishes};
use crate::target::Target;
use crate::{input, secret};

/// Workspaces where none are named.
const WORKSPACES: usize = 10;

pub(crate) async fn run(args: &SendArgs) -> Result<(), Failure> {
    Target::parse(&args.url)?;
    check(args)?;
    let secret = secret::load(&args.secret)?;
    let content = match &args.body {
        Some(file) => Content::Bytes(input::read(Some(file))?),
        None => Content::Events(Template::new(args)),
    };
    let plan = Plan::new(Wishes {
        count: args.count,
        duplicates: args.duplicates,
        out_of_order: args.out_of_order,
        forged: args.forged,
        workspaces: content.workspaces(),
        milliseconds: args.timestamp.map(Timestamp::as_millisecond),
    });
    let planned = plan.planned();
    let source = Signed { plan, content, secret, forger: forger()?, headers: headers() };
    deliver::run(&args.url, source, &args.deliver).await?.end(planned, args.deliver.json)
}

fn check(args: &SendArgs) -> Result<(), Failure> {
    let one = if args.id.is_some() { "--id" } else { "--body" };
    if args.count > 1 && (args.id.is_some() || args.body.is_some()) {
        let text = format!(
            "{one} gives one event and --count asks for {} distinct ones: use --duplicates 1 to send it \
                            twice, or leave out one of the two",
            args.count
        );
        return Err(Failure::usage(text));
    }
    if args.id.is_some() && args.forged > 0.0 {
        return Err(Failure::usage(
            "--id gives one event, and each forged one has an id of its own: leave out --id or --forged",
        ));
    }
    Ok(())
}

/// Events of a plan, signed.
struct Signed {
    plan: Plan,
    content: Content,
    secret: Secret,
    /// Signs what is to be refused.
    forger: Secret,
    headers: HeaderMap,
}

impl Source for Signed {
    fn total(&self) -> u64 {
        let planned = self.plan.planned();
        planned.events + planned.duplicates + planned.forged
    }

    fn next(&self) -> Option<Delivery> {
        let event = self.plan.next()?;
        let body = self.content.body(&event);
        let secret = if event.forged { &self.forger } else { &self.secret };
        let mut headers = self.headers.clone();
        headers.insert(SIGNATURE_HEADER, signature(secret, &body)?);
        let outgoing = crate::client::Outgoing { method: Method::POST, headers, body };
        Some(Delivery { outgoing, forged: event.forged })
    }
}

/// The value of the signature header; there always is one, since base64 is made of characters that a header may hold.
pub(crate) fn signature(secret: &Secret, body: &[u8]) -> Option<HeaderValue> {
    HeaderValue::try_from(secret.sign(body).to_base64()).ok()
}

/// What `send` and `replay` say of themselves.
pub(crate) fn user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("roomz-cli/", env!("CARGO_PKG_VERSION")))
}

fn headers() -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    HeaderMap::from_iter([(header::CONTENT_TYPE, json), (header::USER_AGENT, user_agent())])
}

fn forger() -> Result<Secret, Failure> {
    Secret::new(Uuid::new_v4().to_string()).map_err(|error| Failure::failed(error.to_string()))
}

enum Content {
    Bytes(Bytes),
    Events(Template),
}

impl Content {
    fn workspaces(&self) -> usize {
        match self {
            Self::Bytes(_) => 1,
            Self::Events(template) => template.workspaces.len(),
        }
    }

    fn body(&self, event: &Event) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Events(template) => template.body(event).into(),
        }
    }
}

/// Builds the bodies of events: text around what differs, since a JSON library would be slower than the hash.
struct Template {
    ids: Ids,
    id: Option<String>,
    /// In JSON's spelling, with its quotes, as are the statuses.
    event_type: String,
    workspaces: Vec<WorkspaceId>,
    statuses: Vec<String>,
}

impl Template {
    fn new(args: &SendArgs) -> Self {
        let workspaces = if args.workspace.is_empty() {
            (0..WORKSPACES).map(|_| WorkspaceId::from_uuid(Uuid::new_v4())).collect()
        } else {
            args.workspace.clone()
        };
        let statuses = match &args.status {
            Some(status) => vec![json!(status).to_string()],
            None => ["Busy", "Free"].map(|status| json!(status).to_string()).to_vec(),
        };
        let event_type = json!(args.event_type).to_string();
        Self { ids: Ids::new(), id: args.id.clone(), event_type, workspaces, statuses }
    }

    fn body(&self, event: &Event) -> String {
        let random = self.ids.get(event.number);
        let id = self.id.clone().unwrap_or_else(|| random.to_string());
        let time = Timestamp::from_millisecond(event.milliseconds).unwrap_or_default();
        let workspace = self.workspaces.get(event.workspace).map(WorkspaceId::to_string).unwrap_or_default();
        // The next status when every workspace has had this one.
        let round = event.number / self.workspaces.len().max(1) as u64;
        let round = usize::try_from(round % self.statuses.len().max(1) as u64).unwrap_or_default();
        let status = self.statuses.get(round).map_or("null", String::as_str);
        let event_type = &self.event_type;
        format!(
            r#"{{"id":"{id}","type":{event_type},"timestamp":"{time:.3}","apiVersion":"1.0","data":{{"workspaceId":"{workspace}","presenceStatus":{status}}}}}"#
        )
    }
}
