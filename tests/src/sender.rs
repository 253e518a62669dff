//! A sender that delivers many events at once, and writes down what becomes of them.

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
use roomz_protocol::EventId;
use roomz_webhook::testing::TestEvent;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::BoxError;

use crate::fleet::Targets;
use crate::secret;

/// One event in so many is sent twice at once, to two receivers, and once more when it is accepted.
const TWICE_ONE_IN: usize = 3;
/// How long to wait before an event is sent again.
const PAUSE: Duration = Duration::from_millis(30);
/// A request that takes so long hangs. Well above what the layer may take.
const HANGS: Duration = Duration::from_secs(15);
/// An event that is not accepted for so long never will be.
const NEVER: Duration = Duration::from_secs(40);

/// A sender as one would wish: it goes on with an event until somebody accepts it, each time with the next receiver.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    targets: Targets,
    stopped: AtomicBool,
    accepted: AtomicUsize,
    sent: Mutex<Sent>,
}

/// What was sent, and what became of it.
#[derive(Debug, Default)]
pub struct Sent {
    /// Each event, by its id.
    pub events: HashMap<String, Delivered>,
    /// Each request.
    pub requests: Vec<Request>,
}

/// What became of an event. Times are in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// When it was first sent.
    pub begun: u128,
    /// When it was first accepted.
    pub accepted: Option<u128>,
}

/// A request and its answer.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The status. `None`: the connection broke, or it hangs.
    pub status: Option<StatusCode>,
    /// How long it took.
    pub took: Duration,
    /// It is the first of its event, and no other was sent beside it: nobody can be waited for.
    pub alone: bool,
}

impl Sender {
    /// Begins to send, over so many connections to each receiver.
    pub fn start(targets: Targets, connections: usize) -> Self {
        let shared = Arc::new(Shared {
            targets,
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

    /// How many events were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Waits until so many more events are accepted.
    pub async fn accepts(&self, more: usize) {
        let (start, enough) = (Instant::now(), self.accepted() + more);
        while self.accepted() < enough {
            assert!(start.elapsed() < NEVER, "it does not recover: {} of {enough}", self.accepted());
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Begins no new events, waits until those under way are accepted, and tells what happened.
    pub async fn finish(mut self) -> Sent {
        self.shared.stopped.store(true, Ordering::SeqCst);
        while let Some(worker) = self.workers.join_next().await {
            worker.unwrap();
        }
        std::mem::take(&mut self.shared.sent.lock().unwrap())
    }
}

/// Microseconds since 1970, as the receivers write them.
pub fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()
}

impl Shared {
    /// Whether the event is accepted with this.
    fn note(&self, event: &Event, request: Request) -> bool {
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
    let (mut line, mut other_line) = (Line::default(), Line::default());
    let mut turn = worker;
    while !shared.stopped.load(Ordering::SeqCst) {
        turn += 1;
        let id: EventId = format!("{:032x}", rand::random::<u128>()).parse().unwrap();
        let event = Event { id: id.to_string(), body: TestEvent::busy().with_id(id).body() };
        shared
            .sent
            .lock()
            .unwrap()
            .events
            .insert(event.id.clone(), Delivered { begun: now(), accepted: None });
        let twice = turn.is_multiple_of(TWICE_ONE_IN);
        if twice {
            tokio::join!(
                line.deliver(&shared, &event, turn, false),
                other_line.deliver(&shared, &event, turn + 1, false),
            );
            line.deliver(&shared, &event, turn + 1, false).await;
        } else {
            line.deliver(&shared, &event, turn, true).await;
        }
    }
}

struct Event {
    id: String,
    body: Vec<u8>,
}

/// A connection to each receiver, kept open.
#[derive(Default)]
struct Line {
    open: HashMap<SocketAddr, SendRequest<Full<Bytes>>>,
}

impl Line {
    async fn deliver(&mut self, shared: &Shared, event: &Event, first_turn: usize, mut alone: bool) {
        let first = Instant::now();
        let mut turn = first_turn;
        while first.elapsed() < NEVER {
            let start = Instant::now();
            let posted = timeout(HANGS, self.post(shared.targets.of_turn(turn), event)).await;
            let status = posted.ok().and_then(Result::ok);
            if shared.note(event, Request { status, took: start.elapsed(), alone }) {
                return;
            }
            (turn, alone) = (turn + 1, false);
            sleep(PAUSE).await;
        }
    }

    async fn post(&mut self, address: SocketAddr, event: &Event) -> Result<StatusCode, BoxError> {
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
