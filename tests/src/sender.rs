//! A sender that delivers many events concurrently and records the outcome of each.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use roomz_protocol::{Event, EventId};
use roomz_webhook::testing::TestEvent;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::BoxError;

use crate::fleet::Targets;
use crate::secret;

/// One in this many events is sent to two receivers concurrently, and once more after it is accepted.
const DUPLICATE_ONE_IN: usize = 3;
/// The pause before an event is sent again.
const RETRY_INTERVAL: Duration = Duration::from_millis(30);
/// The default timeout of one request. The layer must respond much earlier.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// The time after which the sender gives up on an event.
const GIVE_UP: Duration = Duration::from_secs(40);

/// A sender that retries each event until a receiver accepts it, each time with the next receiver.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    targets: Targets,
    request_timeout: Duration,
    /// The pause of a connection after each event.
    pause: Duration,
    stopped: AtomicBool,
    accepted: AtomicUsize,
    sent: Mutex<Sent>,
}

/// Everything that was sent, with its outcome.
#[derive(Debug, Default)]
pub struct Sent {
    /// Events by id.
    pub events: HashMap<String, Delivered>,
    /// All requests.
    pub requests: Vec<Request>,
}

/// The outcome of an event. Times are in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// The first time it was sent.
    pub first_sent: u128,
    /// The first time it was accepted.
    pub accepted: Option<u128>,
}

/// The outcome of one request.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The status. `None`: the connection broke, or the request timed out.
    pub status: Option<StatusCode>,
    /// The duration of the request.
    pub duration: Duration,
    /// Whether this is the first request of its event, and the only one at this time. It never waits for
    /// another one.
    pub alone: bool,
}

impl Sender {
    /// Starts sending over `connections` connections to each receiver.
    pub fn start(targets: Targets, connections: usize, request_timeout: Duration) -> Self {
        Self::start_slowly(targets, connections, request_timeout, Duration::ZERO)
    }

    /// Like [`start`](Self::start), with a pause of each connection after each event.
    pub fn start_slowly(
        targets: Targets,
        connections: usize,
        request_timeout: Duration,
        pause: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            targets,
            request_timeout,
            pause,
            stopped: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            sent: Mutex::default(),
        });
        let mut workers = JoinSet::new();
        for worker in 0..connections {
            workers.spawn(work(Arc::clone(&shared), worker));
        }
        Self { shared, workers }
    }

    /// The number of events accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Waits until `more` additional events are accepted.
    pub async fn wait_for_accepted(&self, more: usize) {
        let (start, target) = (Instant::now(), self.accepted() + more);
        while self.accepted() < target {
            assert!(
                start.elapsed() < GIVE_UP,
                "gave up after {GIVE_UP:?}: {} of {target} events accepted",
                self.accepted()
            );
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Sends an additional event until a receiver accepts it.
    pub async fn deliver(&self, event: &TestEvent) -> String {
        let body = event.body();
        let id = Event::parse(&body).unwrap().id.to_string();
        let event = Message { id, body };
        self.shared.begin(&event);
        Client::default().deliver(&self.shared, &event, 0, true).await;
        event.id
    }

    /// Stops with new events, waits until the current ones are accepted, and returns all outcomes.
    pub async fn finish(mut self) -> Sent {
        self.shared.stopped.store(true, Ordering::SeqCst);
        while let Some(worker) = self.workers.join_next().await {
            worker.unwrap();
        }
        std::mem::take(&mut self.shared.sent.lock().unwrap())
    }
}

/// Delivers an event once, over a new connection.
pub async fn deliver(address: SocketAddr, body: &[u8]) -> Result<StatusCode, BoxError> {
    let message = Message { id: String::new(), body: body.to_vec() };
    timeout(REQUEST_TIMEOUT, Client::default().post(address, &message)).await?
}

/// The time in microseconds since 1970, as in the log of the receivers.
pub fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()
}

impl Shared {
    /// Records that this event is sent.
    fn begin(&self, event: &Message) {
        let delivered = Delivered { first_sent: now(), accepted: None };
        self.sent.lock().unwrap().events.insert(event.id.clone(), delivered);
    }

    /// Records a request. Returns whether it was accepted.
    fn record(&self, event: &Message, request: Request) -> bool {
        let mut sent = self.sent.lock().unwrap();
        sent.requests.push(request);
        if !request.status.is_some_and(|status| status.is_success()) {
            return false;
        }
        let delivered = sent.events.get_mut(&event.id).unwrap();
        if delivered.accepted.is_none() {
            delivered.accepted = Some(now());
            self.accepted.fetch_add(1, Ordering::SeqCst);
        }
        true
    }
}

async fn work(shared: Arc<Shared>, worker: usize) {
    let (mut client, mut other_client) = (Client::default(), Client::default());
    let mut turn = worker;
    while !shared.stopped.load(Ordering::SeqCst) {
        turn += 1;
        let id: EventId = format!("{:032x}", rand::random::<u128>()).parse().unwrap();
        let event = Message { id: id.to_string(), body: TestEvent::busy().with_id(id).body() };
        shared.begin(&event);
        let duplicate = turn.is_multiple_of(DUPLICATE_ONE_IN);
        if duplicate {
            tokio::join!(
                client.deliver(&shared, &event, turn, false),
                other_client.deliver(&shared, &event, turn + 1, false),
            );
            client.deliver(&shared, &event, turn + 1, false).await;
        } else {
            client.deliver(&shared, &event, turn, true).await;
        }
        if !shared.pause.is_zero() {
            sleep(shared.pause).await;
        }
    }
}

struct Message {
    id: String,
    body: Vec<u8>,
}

/// One open connection to each receiver.
#[derive(Default)]
struct Client {
    open: HashMap<SocketAddr, SendRequest<Full<Bytes>>>,
}

impl Client {
    async fn deliver(&mut self, shared: &Shared, event: &Message, first_turn: usize, mut alone: bool) {
        let begin = Instant::now();
        let mut turn = first_turn;
        while begin.elapsed() < GIVE_UP {
            let start = Instant::now();
            let response = self.post(shared.targets.at_turn(turn), event);
            let response = timeout(shared.request_timeout, response).await;
            let status = response.ok().and_then(Result::ok);
            if shared.record(event, Request { status, duration: start.elapsed(), alone }) {
                return;
            }
            (turn, alone) = (turn + 1, false);
            sleep(RETRY_INTERVAL).await;
        }
    }

    async fn post(&mut self, address: SocketAddr, event: &Message) -> Result<StatusCode, BoxError> {
        let mut connection = match self.open.remove(&address) {
            Some(connection) if !connection.is_closed() => connection,
            _ => {
                let stream = TcpStream::connect(address).await?;
                let (connection, driver) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(driver);
                connection
            }
        };
        connection.ready().await?;
        let request = roomz_protocol::testing::signed_request::<Vec<u8>>("/", event.body.clone(), &secret());
        let response = connection.send_request(request.map(|body| Full::new(Bytes::from(body)))).await?;
        let status = response.status();
        response.into_body().collect().await?;
        self.open.insert(address, connection);
        Ok(status)
    }
}
