//! The whole layer in process: arbitrary heads, bodies, frames, pauses, disconnects, handlers and failures of
//! the store.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use roomz_protocol::Timestamp;
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, CompactStore, IdempotencyStore, MokaStore, Owner, Settled, StoreError,
    async_trait,
};
use roomz_webhook::{Clock, Delivery, IdReusePolicy, WebhookBody, WebhookLayer};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt as _, service_fn};

use crate::SECRETS;
use crate::event::{self, Document};

const LIMIT: usize = 2_048;
const COMPRESSIONS: &str =
    "gzip x-gzip compress x-compress deflate br zstd dcb dcz exi pack200-gzip bzip2 xz lzma";

#[derive(Arbitrary, Debug)]
struct Traffic<'a> {
    is_compact: bool,
    policy: u8,
    /// Which calls of the store fail, before or after they took effect.
    failures: (u64, u64),
    /// Of the first, second … run of a handler: what it answers, and after how many steps.
    runs: Vec<(Answer, u8)>,
    sent: Vec<Sent<'a>>,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Answer {
    Success,
    Failure,
    Panic,
}

#[derive(Arbitrary, Debug)]
struct Sent<'a> {
    start: u8,
    disconnect: Option<u8>,
    method: Option<&'a str>,
    is_unsigned: bool,
    secret: u8,
    edit: Option<(u8, u8)>,
    encoding: Option<u8>,
    more_headers: Vec<(Name<'a>, &'a [u8])>,
    body: Body<'a>,
    frames: Vec<(u8, u8)>,
    end: End,
}

#[derive(Arbitrary, Debug)]
enum Name<'a> {
    Signature,
    Encoding,
    Length,
    Other(&'a str),
}

#[derive(Arbitrary, Debug)]
enum Body<'a> {
    Event(u8),
    Document(Document<'a>),
    Bytes(&'a [u8]),
    Long(u16),
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum End {
    Complete,
    Broken,
    Stalled,
}

/// A step is no divisor of a timeout, so that nothing happens at the same time.
fn steps(count: u8) -> Duration {
    Duration::from_millis(709) * u32::from(count % 32)
}

impl Sent<'_> {
    fn body(&self) -> Bytes {
        match &self.body {
            Body::Event(id) => Document::valid(id % 2).into(),
            Body::Document(document) => document.text().into(),
            Body::Bytes(bytes) => Bytes::copy_from_slice(bytes),
            Body::Long(length) => vec![b' '; usize::from(*length)].into(),
        }
    }

    fn frames(&self, mut body: Bytes) -> Vec<(Bytes, Duration)> {
        let mut frames = Vec::new();
        for (length, pause) in self.frames.iter().take(20) {
            frames.push((body.split_to(usize::from(*length).min(body.len())), steps(*pause)));
        }
        frames.push((body, Duration::ZERO));
        frames
    }

    fn head(&self, body: &[u8]) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() =
            self.method.map_or(Some(Method::POST), |it| it.parse().ok()).unwrap_or_default();
        let mut signature = SECRETS[usize::from(self.secret) % 3].sign(body).to_base64().into_bytes();
        if let Some((at, byte)) = self.edit {
            signature[usize::from(at) % 88] = byte;
        }
        let encoding = self.encoding.and_then(|index| COMPRESSIONS.split(' ').nth(usize::from(index) % 14));
        let signature = (!self.is_unsigned).then_some(("roomz-signature", signature));
        let encoding = encoding.map(|name| ("content-encoding", name.into()));
        let more = self.more_headers.iter().map(|(name, value)| match name {
            Name::Signature => ("roomz-signature", value.to_vec()),
            Name::Encoding => ("content-encoding", value.to_vec()),
            Name::Length => ("content-length", value.to_vec()),
            Name::Other(name) => (*name, value.to_vec()),
        });
        for (name, value) in signature.into_iter().chain(encoding).chain(more) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                request.headers_mut().append(name, value);
            }
        }
        request
    }

    /// The status of a rejection, by the table of checks. `None` if the delivery passes them all.
    fn rejection(&self, head: &Request<()>, body: &[u8]) -> Option<u16> {
        let values = |name| head.headers().get_all(name).iter().map(HeaderValue::as_bytes);
        let mut codings = values("content-encoding").flat_map(|line| line.split(|byte| *byte == b','));
        let signatures: Vec<_> = values("roomz-signature").collect();
        let is_spelled = |it: &[u8]| roomz_protocol::Signature::from_base64(it).is_ok();
        let length: Option<u64> =
            values("content-length").next().and_then(|it| std::str::from_utf8(it).ok()?.parse().ok());
        if head.method() != Method::POST {
            return Some(405);
        } else if codings.any(|it| {
            COMPRESSIONS.split(' ').any(|name| it.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
        }) {
            return Some(415);
        } else if signatures.len() != 1 || !is_spelled(signatures[0]) {
            return Some(401);
        } else if length.is_some_and(|length| length > LIMIT as u64) {
            return Some(413);
        }
        let (mut length, mut time) = (0, Duration::ZERO);
        for (frame, pause) in self.frames(Bytes::copy_from_slice(body)) {
            (length, time) = (length + frame.len(), time + pause);
            if time > Duration::from_secs(10) {
                return Some(408);
            } else if length > LIMIT {
                return Some(413);
            }
        }
        let is_signed = SECRETS[..2].iter().any(|it| it.sign(body).to_base64().as_bytes() == signatures[0]);
        match self.end {
            End::Broken => Some(400),
            End::Stalled => Some(408),
            End::Complete if !is_signed => Some(401),
            End::Complete => event::read(body).is_none().then_some(400),
        }
    }
}

/// What happened to an event: how many handlers run now, ran, and succeeded.
#[derive(Default)]
struct Runs {
    now: usize,
    all: usize,
    succeeded: usize,
}

pub fn run(input: &[u8]) {
    let Ok(traffic) = Traffic::arbitrary_take_rest(Unstructured::new(input)) else { return };
    crate::RUNTIME.with(|runtime| runtime.block_on(deliver(traffic)));
}

async fn deliver(traffic: Traffic<'_>) {
    let clock = PausedClock(Instant::now());
    let store: Arc<dyn IdempotencyStore> = if traffic.is_compact {
        Arc::new(CompactStore::builder().with_clock(clock.clone()).build())
    } else {
        Arc::new(MokaStore::builder().with_clock(clock.clone()).build())
    };
    let policy = [IdReusePolicy::Acknowledge, IdReusePolicy::Reject, IdReusePolicy::Process]
        [usize::from(traffic.policy) % 3];
    let layer = WebhookLayer::builder(roomz_protocol::Secrets::new(SECRETS[..2].iter().cloned()).unwrap())
        .with_store(Flaky { store, calls: AtomicU64::new(0), failures: traffic.failures })
        .with_clock(clock)
        .with_body_limit(LIMIT)
        .with_id_reuse_policy(policy)
        .build()
        .unwrap();
    let key = move |id: u128, body: &Bytes| (id, (policy == IdReusePolicy::Process).then(|| body.clone()));

    let runs = Arc::new(Mutex::new(HashMap::<_, Runs>::new()));
    let answers = Arc::new(traffic.runs);
    let of_handlers = Arc::clone(&runs);
    let handler = service_fn(move |request: Request<WebhookBody>| {
        let (runs, answers) = (Arc::clone(&of_handlers), Arc::clone(&answers));
        async move {
            let delivery =
                request.extensions().get::<Delivery>().expect("an unverified request reached the handler");
            // The handler gets the verified bytes of this request.
            assert_eq!(request.extensions().get::<Bytes>(), Some(delivery.body()));
            let key = key(delivery.event().id.as_uuid().as_u128(), delivery.body());
            let with = |change: fn(&mut Runs)| {
                let mut runs = runs.lock().unwrap();
                let runs = runs.entry(key.clone()).or_default();
                change(runs);
                assert!(runs.now <= 1 && runs.succeeded <= 1, "an event took effect twice");
                runs.all
            };
            let count = with(|runs| {
                assert_eq!(runs.succeeded, 0, "an event ran again");
                (runs.now, runs.all) = (runs.now + 1, runs.all + 1);
            });
            let (answer, pause) = answers.get(count - 1).copied().unwrap_or((Answer::Success, 0));
            sleep(steps(pause)).await;
            with(|runs| runs.now -= 1);
            let mut response = Response::new(Bytes::new());
            match answer {
                Answer::Success => drop(with(|runs| runs.succeeded += 1)),
                Answer::Failure => *response.status_mut() = StatusCode::IM_A_TEAPOT,
                // Without the hook of panics, which aborts the fuzzer.
                Answer::Panic => std::panic::resume_unwind(Box::new(())),
            }
            Ok::<_, Infallible>(response)
        }
    });

    let requests = traffic.sent.iter().take(5).map(|sent| {
        let (body, service, runs) = (sent.body(), layer.layer(handler.clone()), &runs);
        let mut head = sent.head(&body);
        let rejection = sent.rejection(&head, &body);
        head.extensions_mut().insert(body.clone());
        async move {
            sleep(steps(sent.start)).await;
            let (mut frames, end) = (sent.frames(body.clone()).into_iter(), sent.end);
            let frames = stream::unfold((), move |()| {
                let frame = frames.next();
                async move {
                    match frame {
                        Some((frame, pause)) => {
                            if !pause.is_zero() {
                                sleep(pause).await;
                            }
                            Some((Ok(Frame::data(frame)), ()))
                        }
                        None if end == End::Stalled => std::future::pending().await,
                        None if end == End::Broken => Some((Err("broken"), ())),
                        None => None,
                    }
                }
            });
            let time = sent.disconnect.map_or(Duration::from_secs(86_400), steps);
            let request = head.map(|()| StreamBody::new(Box::pin(frames)));
            let Ok(Ok(response)) = timeout(time, service.oneshot(request)).await else { return None };
            let status = response.status().as_u16();
            if let Some(rejection) = rejection {
                assert_eq!(status, rejection, "{sent:?}");
                return None;
            }
            let key = key(event::read(&body).unwrap().id, &body);
            let succeeded = runs.lock().unwrap().get(&key).map_or(0, |runs| runs.succeeded);
            match status {
                200 => assert_eq!(succeeded, 1, "acknowledged, and no handler succeeded"),
                409 => assert!(policy == IdReusePolicy::Reject),
                418 | 500 | 503 => {}
                other => panic!("{other} is not documented"),
            }
            Some((key, status))
        }
    });
    let answered: Vec<_> = join_all(requests).await.into_iter().flatten().collect();
    layer.drain().await;
    for (key, status) in answered {
        let runs = runs.lock().unwrap();
        let ran = runs.get(&key).map_or(0, |runs| runs.all);
        assert!(
            ran > 0 || status == 503 && traffic.failures != (0, 0) || status == 409,
            "{status} without a handler"
        );
    }
    // The rests of rejected bodies are read until the timeout.
    sleep(Duration::from_secs(60)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[derive(Clone, Debug)]
struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

struct Flaky {
    store: Arc<dyn IdempotencyStore>,
    calls: AtomicU64,
    failures: (u64, u64),
}

impl Flaky {
    async fn call<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let bit = 1_u64.checked_shl(self.calls.fetch_add(1, Ordering::SeqCst) as u32).unwrap_or(0);
        if self.failures.0 & bit > 0 {
            return Err(StoreError::unavailable("not sent"));
        }
        let result = call.await;
        if self.failures.1 & bit > 0 { Err(StoreError::timed_out()) } else { result }
    }
}

#[async_trait]
impl IdempotencyStore for Flaky {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        self.call(self.store.claim(key, claim)).await
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.call(self.store.renew(key, owner, lease)).await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        self.call(self.store.complete(key, owner, retention)).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.call(self.store.release(key, owner)).await
    }
}
