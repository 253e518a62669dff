//! Checks a receiver with requests as ROOMZ sends them, and others that it must refuse.

use std::io;
use std::time::SystemTime;

use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;
use clap::{Args, ValueHint};
use futures_util::stream::pending;
use http::{HeaderMap, Method, Version, header};
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::{Body, Url};
use roomz_protocol::{Secret, Timestamp, Uuid};
use serde::Serialize;
use serde_json::json;

use crate::args::{ConnectArgs, SecretArgs};
use crate::client::{Client, TransportError, event_headers, is_loopback, parse_url};
use crate::deliver::response::ReceiverResponse;
use crate::escape::{escape, escape_json, escape_truncated};
use crate::output::{self, DIM_STYLE, ERROR_STYLE, SUCCESS_STYLE};
use crate::{secret, signature};

const DOCTOR_HELP: &str = "\
Examples:
  roomz doctor https://staging.example.com/webhooks/roomz --secret-file secret
  roomz doctor http://127.0.0.1:3000/webhooks/roomz --slow --json

Sends up to three real signed events, with ids that it prints first. Their type is roomz.doctor, which no handler knows: typed \
handlers ignore it, a handler of all events sees it, and an inbox keeps it as a dead letter. Also sends requests that a \
receiver must refuse.

Exits with 1 when a check failed. A warning does not fail.";

type Text = &'static str;
type Reply = Result<ReceiverResponse, TransportError>;

const OK: &str = "ok";
const WARNING: &str = "warning";
const FAILED: &str = "failed";
const NOT_TESTED: &str = "not tested";

/// No handler knows it.
const EVENT_TYPE: &str = "roomz.doctor";
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

struct Doctor {
    client: Client,
    /// Offers HTTP/2 to the server. `None` for http://, where a client cannot ask.
    http2: Option<Client>,
    headers: HeaderMap,
    checks: Vec<Check>,
}

pub(crate) async fn run(args: &DoctorArgs) -> Result<()> {
    let url = parse_url(&args.url)?;
    let headers = event_headers(&args.connect.header)?;
    let secret = secret::load(&args.secret)?;
    let client = |http2| Client::new(url.clone(), &args.connect, 0, http2);
    // The authority of HTTP/2 is that of the URL, and servers refuse another host beside it.
    let with_http2 = url.scheme() == "https" && !headers.contains_key(header::HOST);
    let (client, http2) = (client(false)?, with_http2.then(|| client(true)).transpose()?);
    let ids = [(); 4].map(|()| Uuid::new_v4().to_string());
    if !args.json {
        let ids = ids.join(", ");
        output::print_line(&format!("sends signed events of the type {EVENT_TYPE} with the ids {ids}"))?;
    }
    let mut doctor = Doctor { client, http2, headers, checks: Vec::new() };
    doctor.examine(&url, &secret, &bodies(&ids), args.slow).await?;
    let checks = doctor.checks;
    if args.json {
        let report = json!({ "type": EVENT_TYPE, "ids": ids, "checks": checks });
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
    let names = failed.join(", ");
    ensure!(failed.is_empty(), "checks failed ({names}): the report on standard output says what to change");
    Ok(())
}

/// The same event in four forms, with an id each. The first three are those that a program prints which
/// parsed it: compact, with sorted keys, and with spaces. The last one survives no such program.
fn bodies(ids: &[String; 4]) -> [String; 4] {
    let (kind, time) = (EVENT_TYPE, format!("{:.3}", Timestamp::now()));
    let [plain, sorted, spaced, odd] = ids;
    [
        format!(r#"{{"id":"{plain}","type":"{kind}","timestamp":"{time}","apiVersion":"1.0","data":{{}}}}"#),
        format!(r#"{{"apiVersion":"1.0","data":{{}},"id":"{sorted}","timestamp":"{time}","type":"{kind}"}}"#),
        format!(
            r#"{{"id": "{spaced}", "type": "{kind}", "timestamp": "{time}", "apiVersion": "1.0", "data": {{}}}}"#
        ),
        format!(
            " {{\"type\" :\"{kind}\", \"id\":\"{odd}\", \"timestamp\":\"{time}\",\r\n\"apiVersion\":\"1.0\", \
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

    async fn request(&self, method: Method, headers: &HeaderMap, body: impl Into<Body>) -> Reply {
        Self::request_with(&self.client, method, headers, body).await
    }

    async fn request_with(
        client: &Client,
        method: Method,
        headers: &HeaderMap,
        body: impl Into<Body>,
    ) -> Reply {
        let response = client.request(method, headers, body, MAX_RESPONSE_BODY).await?;
        Ok(ReceiverResponse::new(response, SystemTime::now()))
    }

    fn signed(&self, secret: &Secret, body: &str) -> HeaderMap {
        let mut headers = self.headers.clone();
        signature::sign(&mut headers, secret, body.as_bytes());
        headers
    }

    async fn post(&self, secret: &Secret, body: &str) -> Reply {
        self.request(Method::POST, &self.signed(secret, body), body.to_owned()).await
    }

    async fn examine(&mut self, url: &Url, secret: &Secret, bodies: &[String; 4], slow: bool) -> Result<()> {
        let [plain, others @ .., odd] = bodies;
        let first = self.post(secret, plain).await.map_err(|TransportError { cause, advice, .. }| {
            anyhow!("cannot check {}: {cause}; {advice}", self.client.address())
        })?;
        self.check_connection(url, &first);
        let accepted = self.check_delivery(&first);
        let mut rewritten = None;
        if accepted {
            let (seen, is_accepted) = seen(&self.post(secret, odd).await);
            let text = || format!("spaces, escapes and line ends in the body: {seen}; without: accepted");
            rewritten = (!is_accepted).then(text);
        } else if first.status == 401 {
            for other in others {
                if self.post(secret, other).await.is_ok_and(|answer| answer.is_accepted()) {
                    let text = "a body in another JSON layout was accepted, the plain one not";
                    rewritten = Some(text.to_owned());
                }
            }
        }
        let not_accepted = "no delivery was accepted";
        match rewritten {
            Some(seen) => {
                let remedy = "a program on the way parses the JSON and prints it again: let it pass the body on as it is";
                self.add("body", FAILED, seen, remedy);
            }
            None if accepted => self.add("body", OK, "spaces, escapes and line ends arrive unchanged", ""),
            None => self.add("body", NOT_TESTED, not_accepted, ""),
        }
        let again = if accepted { Some(self.post(secret, plain).await) } else { None };
        match again.as_ref().map(|again| (again, seen(again))) {
            None => self.add("duplicate", NOT_TESTED, not_accepted, ""),
            Some((Ok(answer), _)) if answer.is_duplicate() => {
                self.add("duplicate", OK, "recognized: roomz-webhook-skipped: duplicate", "");
            }
            Some((_, (text, true))) => self.add(
                "duplicate",
                WARNING,
                format!("{text} without roomz-webhook-skipped: duplicate"),
                "check that the handler did not run twice, and that all instances share one store",
            ),
            Some((_, (text, false))) => self.add("duplicate", FAILED, text, "answer a duplicate 2xx"),
        }
        self.check_http2(secret, plain, again.as_ref()).await;
        self.check_refusals(plain, slow).await
    }

    /// Compares the answers to the same duplicate.
    async fn check_http2(&mut self, secret: &Secret, body: &str, http1: Option<&Reply>) {
        let (Some(client), Some(http1)) = (&self.http2, http1) else {
            let reason = "needs https://, an accepted delivery, and no --header Host";
            return self.add("HTTP/2", NOT_TESTED, reason, "");
        };
        let headers = self.signed(secret, body);
        let reply = Self::request_with(client, Method::POST, &headers, body.to_owned()).await;
        let ((text, _), (expected, _)) = (seen(&reply), seen(http1));
        match reply {
            Ok(answer) if answer.response.version() != Version::HTTP_2 => {
                self.add(
                    "HTTP/2",
                    OK,
                    "the server offers HTTP/1.1 only, and a sender uses what it offers",
                    "",
                );
            }
            _ if text == expected => self.add("HTTP/2", OK, format!("answers as over HTTP/1.1: {text}"), ""),
            _ => {
                let seen = format!("{text}, but {expected} over HTTP/1.1");
                let remedy = "make both versions reach the same receiver, or turn HTTP/2 off at the proxy";
                self.add("HTTP/2", FAILED, seen, remedy);
            }
        }
    }

    /// TLS and clock. An untrusted certificate has ended the checks already.
    fn check_connection(&mut self, url: &Url, ReceiverResponse { response, .. }: &ReceiverResponse) {
        match url.scheme() {
            "https" => self.add("TLS", OK, "trusted chain, valid now", ""),
            _ if is_loopback(url) => self.add("TLS", NOT_TESTED, "http:// on this machine", ""),
            _ => self.add("TLS", WARNING, "http://: others can read the deliveries", "use https://"),
        }
        let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok());
        let Some(date) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
            return self.add("clock", NOT_TESTED, "the answer has no Date", "");
        };
        let now = SystemTime::now();
        let skew =
            now.duration_since(date).or_else(|_| date.duration_since(now)).unwrap_or_default().as_secs();
        let verdict = if skew > 60 { WARNING } else { OK };
        let remedy = "synchronize both clocks, for example with chrony";
        self.add("clock", verdict, format!("{skew} s apart from this machine's"), remedy);
    }

    /// Judges the answer to the first delivery. True when it was accepted.
    fn check_delivery(&mut self, answer: &ReceiverResponse) -> bool {
        let (failed, remedy) = match (answer.status.as_u16(), answer.reason.as_deref()) {
            _ if answer.is_grpc => {
                ("path", "a gRPC server answered: check the path, and answer unknown paths 404")
            }
            (300..=399, _) => ("path", "give ROOMZ the final URL: a redirect can turn a POST into a GET"),
            (404 | 405, _) => ("path", "check the path of the URL, and that it takes POST"),
            (401, Some("signature-missing" | "signature-repeated" | "signature-malformed")) => (
                "signature",
                "a proxy removes, repeats or changes Roomz-Signature: let it pass once, as it is",
            ),
            (401, _) => ("signature", "compare the secret with the receiver's; see also the line `body`"),
            _ if answer.is_accepted() => ("", ""),
            _ => ("delivery", "check the receiver's log: ROOMZ counts this as a failed delivery"),
        };
        let location = answer.response.headers().get(header::LOCATION);
        let location = location.map(|to| format!(" to {}", String::from_utf8_lossy(to.as_bytes())));
        let seen = answer.label() + &escape_truncated(&location.unwrap_or_default(), 200);
        for check in ["path", "signature", "delivery"] {
            match check {
                _ if check == failed => self.add(check, FAILED, seen.clone(), remedy),
                _ if check == "path" || failed.is_empty() => self.add(check, OK, seen.clone(), ""),
                _ => self.add(check, NOT_TESTED, seen.clone(), ""),
            }
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
        let oversized = self.post(&forger, &" ".repeat(OVERSIZED)).await;
        self.refusal("oversized", &oversized, 413, "limit the size of a body, such as to 256 KiB");
        if slow {
            let stalled = StreamBody::new(pending::<Result<Frame<Bytes>, io::Error>>());
            let slow = self.request(Method::POST, &self.signed(&forger, ""), Body::wrap(stalled)).await;
            self.refusal("slow", &slow, 408, "limit the time for a whole body, such as to 10 s");
        } else {
            self.add("slow", NOT_TESTED, "takes 10 s or longer", "add --slow to test it");
        }
        Ok(())
    }

    /// Accepting such a request is a failure; refusing it in another way is a warning.
    fn refusal(&mut self, check: Text, result: &Reply, expected: u16, remedy: Text) {
        let (text, is_accepted) = seen(result);
        let is_expected = matches!(result, Ok(answer) if answer.status == expected);
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
        Ok(answer) => (answer.label(), answer.is_accepted()),
        Err(error) => (escape(&error.cause), false),
    }
}
