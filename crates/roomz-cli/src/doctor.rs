//! Checks a receiver with requests as ROOMZ sends them, and others that it must reject.

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
use crate::client::{Client, ReceiverResponse, TransportError, event_headers, is_loopback, parse_url};
use crate::escape::{escape, escape_truncated};
use crate::output::{self, DIM_STYLE, ERROR_STYLE, SUCCESS_STYLE};
use crate::{secret, signature};

const DOCTOR_HELP: &str = "\
Examples:
  roomz doctor https://staging.example.com/webhooks/roomz --secret-file secret
  roomz doctor http://127.0.0.1:3000/webhooks/roomz --slow --json

Sends two real signed events, with ids that it prints first. Their type is roomz.doctor, which no handler knows: typed \
handlers ignore it, a handler of all events sees it, and the alert RoomzUnknownEvent fires. An inbox retries it until it is a dead \
letter; `roomz inbox discard` discards it. Also sends requests that a receiver must reject.

Exits with 1 when a check failed. A warning does not fail.";

type Text = &'static str;
type Reply = Result<ReceiverResponse, TransportError>;

const OK: &str = "ok";
const WARNING: &str = "warning";
const FAILED: &str = "failed";
const NOT_TESTED: &str = "not tested";

/// No handler knows it.
const EVENT_TYPE: &str = "roomz.doctor";
/// A receiver rejects a body of this size: four times the default limit.
const OVERSIZED: usize = 1024 * 1024;

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
    /// Offers HTTP/2 to the server, which a client can only do with TLS.
    http2: Option<Client>,
    headers: HeaderMap,
    secret: Secret,
    checks: Vec<Check>,
}

pub(crate) async fn run(args: &DoctorArgs) -> Result<()> {
    let url = parse_url(&args.url)?;
    let headers = event_headers(&args.connect.header)?;
    let secret = secret::load(&args.secret)?;
    let client = |http2| Client::new(url.clone(), &args.connect, 0, http2);
    // The authority of HTTP/2 is that of the URL, and servers reject another host beside it.
    let with_http2 = url.scheme() == "https" && !headers.contains_key(header::HOST);
    let (client, http2) = (client(false)?, with_http2.then(|| client(true)).transpose()?);
    let ids = [(); 2].map(|()| Uuid::new_v4().to_string());
    if !args.json {
        let ids = ids.join(", ");
        output::print_line(&format!("sends signed events of the type {EVENT_TYPE} with the ids {ids}"))?;
    }
    let mut doctor = Doctor { client, http2, headers, secret, checks: Vec::new() };
    doctor.examine(&url, &bodies(&ids), args.slow).await?;
    let checks = doctor.checks;
    if args.json {
        output::print_values(&json!({ "type": EVENT_TYPE, "ids": ids, "checks": checks }), true)?;
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
    let failed = checks.iter().filter(|check| check.verdict == FAILED).map(|check| check.check);
    let failed = failed.collect::<Vec<_>>().join(", ");
    ensure!(failed.is_empty(), "checks failed ({failed}): the report on standard output says what to change");
    Ok(())
}

/// The same event in two forms, with an id each: the form that most programs print after parsing it, and one
/// that survives no such program.
fn bodies([plain, odd]: &[String; 2]) -> [String; 2] {
    let (kind, time) = (EVENT_TYPE, format!("{:.3}", Timestamp::now()));
    [
        format!(r#"{{"apiVersion":"1.0","data":{{}},"id":"{plain}","timestamp":"{time}","type":"{kind}"}}"#),
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

    fn signed(&self, secret: &Secret, body: &str) -> HeaderMap {
        let mut headers = self.headers.clone();
        signature::sign(&mut headers, secret, body.as_bytes());
        headers
    }

    async fn post(&self, secret: &Secret, body: &str) -> Reply {
        self.client.request(Method::POST, &self.signed(secret, body), body.to_owned()).await
    }

    async fn examine(&mut self, url: &Url, [plain, odd]: &[String; 2], slow: bool) -> Result<()> {
        let first =
            self.post(&self.secret, plain).await.map_err(|TransportError { cause, advice, .. }| {
                anyhow!("cannot check {}: {cause}; {advice}", self.client.address())
            })?;
        self.check_connection(url, &first);
        let location = first.response.headers().get(header::LOCATION);
        let location = location.map(|to| format!(" to {}", String::from_utf8_lossy(to.as_bytes())));
        let seen = first.label() + &escape_truncated(&location.unwrap_or_default(), 200);
        self.add("delivery", if first.is_accepted() { OK } else { FAILED }, seen, first.advice());
        if first.is_accepted() {
            self.check_accepted(plain, odd).await;
        } else {
            for check in ["body", "duplicate", "HTTP/2"] {
                self.add(check, NOT_TESTED, "no delivery was accepted", "");
            }
        }
        if first.is_not_webhook() {
            for check in ["forged", "unsigned", "method GET", "oversized", "slow"] {
                self.add(check, NOT_TESTED, "this is not the webhook", "");
            }
            return Ok(());
        }
        self.check_rejections(plain, slow).await
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

    /// Checks that need a receiver that accepts deliveries.
    async fn check_accepted(&mut self, plain: &str, odd: &str) {
        let (seen_odd, is_accepted) = seen(&self.post(&self.secret, odd).await);
        let verdict = if is_accepted { OK } else { FAILED };
        let remedy =
            "a program on the way parses the JSON and prints it again: let it pass the body on as it is";
        self.add("body", verdict, format!("{seen_odd} to spaces, escapes and line ends"), remedy);

        let again = self.post(&self.secret, plain).await;
        let (seen_again, is_accepted) = seen(&again);
        let verdict = match again {
            Ok(answer) if answer.is_duplicate() => OK,
            _ if is_accepted => WARNING,
            _ => FAILED,
        };
        let remedy = "answer a duplicate 2xx with roomz-webhook-skipped: duplicate; check that the handler did not run \
                      twice, and that all instances share one store";
        self.add("duplicate", verdict, seen_again.as_str(), remedy);

        let Some(http2) = &self.http2 else {
            return self.add("HTTP/2", NOT_TESTED, "needs https:// and no --header Host", "");
        };
        let headers = self.signed(&self.secret, plain);
        let reply = http2.request(Method::POST, &headers, plain.to_owned()).await;
        if reply.as_ref().is_ok_and(|answer| answer.response.version() != Version::HTTP_2) {
            return self.add("HTTP/2", OK, "not offered: a sender uses HTTP/1.1", "");
        }
        let (over_http2, _) = seen(&reply);
        let verdict = if over_http2 == seen_again { OK } else { FAILED };
        let remedy = "make both versions reach the same receiver, or turn HTTP/2 off at the proxy";
        self.add("HTTP/2", verdict, format!("{over_http2}; over HTTP/1.1 {seen_again}"), remedy);
    }

    /// Requests that a receiver must reject.
    async fn check_rejections(&mut self, plain: &str, slow: bool) -> Result<()> {
        let forger = Secret::new(Uuid::new_v4().to_string())?;
        let forged = self.post(&forger, plain).await;
        self.rejection("forged", &forged, 401, "verify each signature: anybody could send events");
        let unsigned = self.client.request(Method::POST, &self.headers, plain.to_owned()).await;
        self.rejection("unsigned", &unsigned, 401, "require the signature: anybody could send events");
        let get = self.client.request(Method::GET, &self.headers, "").await;
        self.rejection("method GET", &get, 405, "answer other methods 405");
        let oversized = self.post(&forger, &" ".repeat(OVERSIZED)).await;
        self.rejection("oversized", &oversized, 413, "limit the size of a body, such as to 256 KiB");
        if slow {
            let stalled = Body::wrap(StreamBody::new(pending::<Result<Frame<Bytes>, io::Error>>()));
            let slow = self.client.request(Method::POST, &self.signed(&forger, ""), stalled).await;
            self.rejection("slow", &slow, 408, "limit the time for a body, such as to 10 s, below --timeout");
        } else {
            self.add("slow", NOT_TESTED, "takes 10 s or longer", "add --slow to test it");
        }
        Ok(())
    }

    /// Accepting such a request is a failure; rejecting it in another way is a warning.
    fn rejection(&mut self, check: Text, result: &Reply, expected: u16, remedy: Text) {
        let (text, is_accepted) = seen(result);
        let verdict = match result {
            Ok(answer) if answer.status == expected => OK,
            _ if is_accepted => FAILED,
            _ => WARNING,
        };
        self.add(check, verdict, format!("{text}, expected {expected}"), remedy);
    }
}

/// What came back, and whether the webhook accepted the request.
fn seen(result: &Reply) -> (String, bool) {
    match result {
        Ok(answer) => (answer.label(), answer.is_accepted()),
        Err(error) => (escape(&error.cause), false),
    }
}
