//! Checks a receiver with requests as ROOMZ sends them, and others that it must refuse.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use clap::{Args, ValueHint};
use http::{HeaderMap, Method, Response, header};
use http_body::Frame;
use reqwest::{Body, Url};
use roomz_protocol::{Secret, Timestamp, Uuid};
use serde::Serialize;
use serde_json::json;

use crate::args::{ConnectArgs, SecretArgs};
use crate::client::{Client, TransportError, event_headers, is_loopback, parse_url};
use crate::deliver::response::ReceiverResponse;
use crate::escape::{escape, escape_json, escape_truncated};
use crate::output::{self, DIM_STYLE, ERROR_STYLE, SUCCESS_STYLE, format_duration};
use crate::{secret, signature};

const DOCTOR_HELP: &str = "\
Examples:
  roomz doctor https://staging.example.com/webhooks/roomz --secret-file secret
  roomz doctor http://127.0.0.1:3000/webhooks/roomz --slow --json

Sends up to four real signed events, whose ids it prints first. Their type is roomz.doctor, which no handler knows: typed \
handlers ignore it, a handler of all events sees it, and an inbox keeps it as a dead letter. Also sends requests that a \
receiver must refuse.

Exits with 1 when a check failed. A warning does not fail.";

type Text = &'static str;
type Reply = Result<Answer, TransportError>;

const OK: &str = "ok";
const WARNING: &str = "warning";
const FAILED: &str = "failed";
const NOT_TESTED: &str = "not tested";

/// A receiver refuses a body of this size: four times the default limit.
const OVERSIZED: usize = 1024 * 1024;
const MAX_RESPONSE_BODY: usize = 64 * 1024;

#[derive(Args)]
#[command(after_help = DOCTOR_HELP)]
pub(crate) struct DoctorArgs {
    /// URL of the receiver, such as `https://staging.example.com/webhooks/roomz`
    #[arg(value_hint = ValueHint::Url)]
    url: String,
    #[command(flatten)]
    secret: SecretArgs,
    /// Type of the events
    #[arg(long = "type", value_name = "TEXT", default_value = "roomz.doctor")]
    event_type: String,
    /// Also send a body that never ends; takes as long as the receiver waits for it, or --timeout
    #[arg(long)]
    slow: bool,
    #[command(flatten)]
    connect: ConnectArgs,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// One line of the report.
#[derive(Serialize)]
struct Check {
    check: Text,
    verdict: Text,
    seen: String,
    /// What to do; empty if there is nothing to do.
    remedy: Text,
}

/// The answer to one request.
struct Answer {
    response: Response<Bytes>,
    parsed: ReceiverResponse,
    time: Duration,
}

struct Doctor {
    client: Client,
    headers: HeaderMap,
    checks: Vec<Check>,
    /// Whether each 503 had a `Retry-After`; `None` without a 503.
    retry_after: Option<bool>,
}

/// A body that never ends.
struct StalledBody;

impl http_body::Body for StalledBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Pending
    }
}

pub(crate) async fn run(args: &DoctorArgs) -> Result<()> {
    let url = parse_url(&args.url)?;
    let headers = event_headers(&args.connect.header)?;
    let secret = secret::load(&args.secret)?;
    let client = Client::new(url.clone(), &args.connect, 0)?;
    let ids = [(); 4].map(|()| Uuid::new_v4().to_string());
    if !args.json {
        let (kind, ids) = (escape(&args.event_type), ids.join(", "));
        output::print_line(&format!("sends signed events of the type {kind} with the ids {ids}"))?;
    }
    let mut doctor = Doctor { client, headers, checks: Vec::new(), retry_after: None };
    doctor.examine(&url, &secret, &bodies(&ids, &args.event_type), args.slow).await?;
    let checks = doctor.checks;
    if args.json {
        let report = json!({ "type": args.event_type, "ids": ids, "checks": checks });
        output::print_line(&escape_json(&report.to_string()))?;
    } else {
        for Check { check, verdict, seen, remedy } in &checks {
            let style = match *verdict {
                OK => SUCCESS_STYLE,
                NOT_TESTED => DIM_STYLE,
                _ => ERROR_STYLE,
            };
            let remedy = if remedy.is_empty() { String::new() } else { format!("; {remedy}") };
            output::print_line(&format!("{check:<14}{style}{verdict:<12}{style:#}{seen}{remedy}"))?;
        }
    }
    let failed: Vec<_> = checks.iter().filter(|check| check.verdict == FAILED).map(|c| c.check).collect();
    ensure!(
        failed.is_empty(),
        "{} of {} checks failed ({}): the report on standard output says what to change",
        failed.len(),
        checks.len(),
        failed.join(", ")
    );
    Ok(())
}

/// The same event in four forms, with an id each. The first three are those that a program prints which
/// parsed it: compact, with sorted keys, and with spaces. The last one survives no such program.
fn bodies(ids: &[String; 4], event_type: &str) -> [String; 4] {
    let (kind, time) = (json!(event_type), format!("{:.3}", Timestamp::now()));
    let [plain, sorted, spaced, odd] = ids;
    [
        format!(r#"{{"id":"{plain}","type":{kind},"timestamp":"{time}","apiVersion":"1.0","data":{{}}}}"#),
        format!(r#"{{"apiVersion":"1.0","data":{{}},"id":"{sorted}","timestamp":"{time}","type":{kind}}}"#),
        format!(
            r#"{{"id": "{spaced}", "type": {kind}, "timestamp": "{time}", "apiVersion": "1.0", "data": {{}}}}"#
        ),
        format!(
            " {{\"type\" :{kind}, \"id\":\"{odd}\", \"timestamp\":\"{time}\",\r\n\"apiVersion\":\"1.0\", \
             \"data\":{{\"text\":\"\\u002b\\/é\\u00E9<&\", \"number\":1.50}} }}\r\n"
        ),
    ]
}

impl Doctor {
    /// The remedy is left out when there is nothing to do.
    fn add(&mut self, check: Text, verdict: Text, seen: impl Into<String>, remedy: Text) {
        let remedy = if verdict == OK { "" } else { remedy };
        self.checks.push(Check { check, verdict, seen: seen.into(), remedy });
    }

    async fn request(&mut self, method: Method, headers: &HeaderMap, body: impl Into<Body>) -> Reply {
        let started = Instant::now();
        let response = self.client.request(method, headers, body, MAX_RESPONSE_BODY).await?;
        let time = started.elapsed();
        let parsed = ReceiverResponse::new(&response, SystemTime::now());
        if parsed.status == 503 {
            self.retry_after = Some(self.retry_after.unwrap_or(true) && parsed.retry_after.is_some());
        }
        Ok(Answer { response, parsed, time })
    }

    fn signed(&self, secret: &Secret, body: &str) -> HeaderMap {
        let mut headers = self.headers.clone();
        signature::sign(&mut headers, secret, body.as_bytes());
        headers
    }

    async fn post(&mut self, secret: &Secret, body: &str) -> Reply {
        self.request(Method::POST, &self.signed(secret, body), body.to_owned()).await
    }

    async fn examine(&mut self, url: &Url, secret: &Secret, bodies: &[String; 4], slow: bool) -> Result<()> {
        let [plain, others @ .., odd] = bodies;
        let first = match self.post(secret, plain).await {
            Ok(answer) => answer,
            Err(TransportError { cause, advice, .. }) => {
                bail!("cannot check {}: {cause}; {advice}", self.client.address())
            }
        };
        self.check_connection(url, &first);
        let accepted = self.check_delivery(&first);
        let mut rewritten = None;
        if !accepted && first.parsed.status == 401 {
            for other in others {
                let answer = self.post(secret, other).await;
                if answer.is_ok_and(|answer| answer.parsed.is_accepted()) {
                    rewritten =
                        Some("a body in another JSON layout was accepted, the plain one not".to_owned());
                }
            }
        } else if accepted {
            let (seen, is_accepted) = seen(&self.post(secret, odd).await);
            if !is_accepted {
                rewritten =
                    Some(format!("spaces, escapes and line ends in the body: {seen}; without: accepted"));
            }
        }
        match rewritten {
            Some(seen) => {
                let remedy = "a program on the way parses the JSON and prints it again: let it pass the body on as it is";
                self.add("body", FAILED, seen, remedy);
            }
            None if accepted => self.add("body", OK, "spaces, escapes and line ends arrive unchanged", ""),
            None => self.add("body", NOT_TESTED, "no delivery was accepted", ""),
        }
        if accepted {
            let again = self.post(secret, plain).await;
            let (text, is_accepted) = seen(&again);
            match again {
                Ok(answer) if answer.parsed.is_duplicate() => {
                    self.add("duplicate", OK, "recognized: roomz-webhook-skipped: duplicate", "");
                }
                _ if is_accepted => self.add(
                    "duplicate",
                    WARNING,
                    format!("{text} without roomz-webhook-skipped: duplicate"),
                    "check that the handler did not run twice, and that all instances share one store",
                ),
                _ => self.add("duplicate", FAILED, text, "answer a duplicate 2xx"),
            }
        } else {
            self.add("duplicate", NOT_TESTED, "no delivery was accepted", "");
        }
        self.check_refusals(plain, slow).await?;
        let (verdict, seen, remedy) = match self.retry_after {
            None => (NOT_TESTED, "no answer was 503", ""),
            Some(true) => (OK, "each 503 has one", ""),
            Some(false) => (WARNING, "a 503 without one", "add the header Retry-After"),
        };
        self.add("Retry-After", verdict, seen, remedy);
        Ok(())
    }

    /// TLS, protocol, clock, request id and latency. An untrusted certificate has ended the checks already.
    fn check_connection(&mut self, url: &Url, answer: &Answer) {
        match url.scheme() {
            "https" => self.add("TLS", OK, "trusted chain, valid now", ""),
            _ if is_loopback(url) => self.add("TLS", NOT_TESTED, "http:// on this machine", ""),
            _ => self.add("TLS", WARNING, "http://: others can read the deliveries", "use https://"),
        }
        let version = format!("{:?}; HTTP/2 was not tried", answer.response.version());
        self.add("HTTP", OK, version, "");
        let headers = answer.response.headers();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let date = text("date").and_then(|date| httpdate::parse_http_date(date).ok());
        let id = text("x-request-id")
            .map_or("no x-request-id".to_owned(), |id| format!("x-request-id {}", escape_truncated(id, 64)));
        match date {
            None => self.add("clock", NOT_TESTED, "the answer has no Date", ""),
            Some(date) => {
                let now = SystemTime::now();
                let skew = now.duration_since(date).or_else(|_| date.duration_since(now));
                let seconds = skew.unwrap_or_default().as_secs();
                let verdict = if seconds > 60 { WARNING } else { OK };
                let seen = format!("{seconds} s apart from this machine's");
                self.add("clock", verdict, seen, "synchronize both clocks, for example with chrony");
            }
        }
        self.add("latency", OK, format!("{}, {id}", format_duration(answer.time)), "");
    }

    /// Judges the answer to the first delivery. True when it was accepted.
    fn check_delivery(&mut self, answer: &Answer) -> bool {
        let ReceiverResponse { status, reason, is_grpc, .. } = &answer.parsed;
        let (failed, remedy) = match (status.as_u16(), reason.as_deref()) {
            _ if *is_grpc => ("path", "a gRPC server answered: check the path, and answer unknown paths 404"),
            (300..=399, _) => ("path", "give ROOMZ the final URL: a redirect can turn a POST into a GET"),
            (404 | 405, _) => ("path", "check the path of the URL, and that it takes POST"),
            (401, Some("signature-missing")) => ("signature", "a proxy removes Roomz-Signature: let it pass"),
            (401, Some("signature-repeated")) => {
                ("signature", "a proxy repeats Roomz-Signature: pass it once")
            }
            (401, Some("signature-malformed")) => {
                ("signature", "a proxy changes Roomz-Signature: let it pass")
            }
            (401, _) => ("signature", "compare the secret with the receiver's; see also the line `body`"),
            _ if answer.parsed.is_accepted() => ("", ""),
            _ => ("delivery", "check the receiver's log: ROOMZ counts this as a failed delivery"),
        };
        let location = answer.response.headers().get(header::LOCATION).filter(|_| status.is_redirection());
        let location = location.map(|to| format!(" to {}", String::from_utf8_lossy(to.as_bytes())));
        let seen = answer.parsed.label() + &escape_truncated(&location.unwrap_or_default(), 200);
        for check in ["path", "signature", "delivery"] {
            let verdict = match () {
                () if check == failed => FAILED,
                () if check == "path" || failed.is_empty() => OK,
                () => NOT_TESTED,
            };
            self.add(check, verdict, seen.clone(), if verdict == FAILED { remedy } else { "" });
        }
        failed.is_empty()
    }

    /// Requests that a receiver must refuse.
    async fn check_refusals(&mut self, plain: &str, slow: bool) -> Result<()> {
        let forger = Secret::new(Uuid::new_v4().to_string())?;
        let forged = self.post(&forger, plain).await;
        self.refusal("forged", &forged, 401, "verify each signature: anybody could send events");
        let headers = self.headers.clone();
        let unsigned = self.request(Method::POST, &headers, plain.to_owned()).await;
        self.refusal("unsigned", &unsigned, 401, "require the signature: anybody could send events");
        let get = self.request(Method::GET, &headers, "").await;
        self.refusal("method GET", &get, 405, "answer other methods 405");
        if let Ok(get) = &get
            && get.parsed.status == 405
            && get.response.headers().get(header::ALLOW).is_none_or(|allow| allow != "POST")
        {
            self.add("Allow", WARNING, "not `POST` in the answer to GET", "add the header Allow: POST");
        }
        let oversized = self.post(&forger, &" ".repeat(OVERSIZED)).await;
        self.refusal("oversized", &oversized, 413, "limit the size of a body, such as to 256 KiB");
        if slow {
            let slow = self.request(Method::POST, &self.signed(&forger, ""), Body::wrap(StalledBody)).await;
            self.refusal("slow", &slow, 408, "limit the time for a whole body, such as to 10 s");
        } else {
            self.add("slow", NOT_TESTED, "takes 10 s or longer", "add --slow to test it");
        }
        Ok(())
    }

    /// Accepting such a request is a failure; refusing it in another way is a warning.
    fn refusal(&mut self, check: Text, result: &Reply, expected: u16, remedy: Text) {
        let (text, is_accepted) = seen(result);
        let is_expected = matches!(result, Ok(answer) if answer.parsed.status == expected);
        match (is_expected, is_accepted) {
            (true, _) => self.add(check, OK, format!("refused: {text}"), ""),
            (_, true) => self.add(check, FAILED, text, remedy),
            _ => self.add(check, WARNING, format!("{text}, not {expected}"), remedy),
        }
    }
}

/// What came back, and whether the webhook accepted the request.
fn seen(result: &Reply) -> (String, bool) {
    match result {
        Ok(answer) => (answer.parsed.label(), answer.parsed.is_accepted()),
        Err(error) => (escape(&error.cause), false),
    }
}
