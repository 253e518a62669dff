//! What `src/bin/counting-receiver.rs` and the tests that start it share.

use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use roomz_protocol::Secret;
use roomz_webhook::testing::TestEvent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How many earlier secrets are accepted together with the newest.
pub const ROTATION_OVERLAP: u64 = 5;

/// The secret after this many rotations.
pub fn secret_of_rotation(number: u64) -> Secret {
    Secret::new(format!("the webhook secret {number}")).unwrap()
}

/// A receiver in a process of its own. It ends with this value.
#[derive(Debug)]
pub struct CountingReceiver {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
    runs: Arc<Mutex<Vec<u8>>>,
}

/// What a receiver uses.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Calls of the store since the start.
    pub store_calls: usize,
    /// Tasks of the runtime.
    pub tasks: usize,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Resident memory in KiB.
    pub resident: usize,
    /// The maximum of the resident memory in KiB.
    pub peak: usize,
}

impl CountingReceiver {
    /// Starts a receiver and waits until it listens.
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        let command = &mut Command::new(program);
        let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.next().unwrap().unwrap().parse().unwrap();
        let runs = Arc::<Mutex<Vec<u8>>>::default();
        let counts = runs.clone();
        std::thread::spawn(move || {
            for id in lines.map_while(Result::ok) {
                let number = usize::from_str_radix(&id.replace('-', ""), 16).unwrap();
                let mut counts = counts.lock().unwrap();
                let length = counts.len().max(number + 1);
                counts.resize(length, 0);
                *counts.get_mut(number).unwrap() += 1;
            }
        });
        Self { process, address, runs }
    }

    /// How often each event was handled, by its number. Waits until the receiver has reported so many events.
    pub async fn runs(&self, events: usize) -> Vec<u8> {
        for _ in 0..1_000 {
            let reported = self.runs.lock().unwrap().iter().filter(|runs| **runs > 0).count();
            if reported >= events {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        self.runs.lock().unwrap().clone()
    }

    /// What the receiver uses now.
    pub async fn usage(&self) -> Usage {
        let counts = Connection::get(self.address, "/counts").await;
        let (calls, tasks) = counts.split_once(' ').unwrap();
        let process = format!("/proc/{}", self.process.id());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let kilobytes = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        Usage {
            store_calls: calls.parse().unwrap(),
            tasks: tasks.parse().unwrap(),
            descriptors: std::fs::read_dir(format!("{process}/fd")).unwrap().count(),
            resident: kilobytes("VmRSS:"),
            peak: kilobytes("VmHWM:"),
        }
    }
}

impl Drop for CountingReceiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The bytes of a signed delivery of the event with this number.
pub fn delivery(number: usize, secret: &Secret) -> Vec<u8> {
    let id = format!("{number:032x}").parse().unwrap();
    let body = TestEvent::busy().with_id(id).body();
    let signature = secret.sign(&body).to_base64();
    [request_head(&signature, &format!("content-length: {}", body.len())).as_bytes(), &body].concat()
}

/// The head of a delivery with this signature and these header lines.
pub fn request_head(signature: &str, lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: localhost\r\nroomz-signature: {signature}\r\n{lines}\r\n\r\n")
}

/// A connection of a client that sends requests as bytes.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { stream: TcpStream::connect(address).await?, read: Vec::new() })
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads one response: its status and its body.
    pub async fn response(&mut self) -> io::Result<(u16, String)> {
        loop {
            if let Some((status, body, length)) = parse(&self.read) {
                self.read.drain(..length);
                return Ok((status, body));
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Sends bytes and reads one response.
    pub async fn exchange(&mut self, bytes: &[u8]) -> io::Result<u16> {
        self.send(bytes).await?;
        Ok(self.response().await?.0)
    }

    /// The body of the response to a GET of this path.
    pub async fn get(address: SocketAddr, path: &str) -> String {
        let mut connection = Self::open(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        connection.send(request.as_bytes()).await.unwrap();
        connection.response().await.unwrap().1
    }
}

/// The status and the body of a complete response, and its length in bytes.
fn parse(bytes: &[u8]) -> Option<(u16, String, usize)> {
    let text = String::from_utf8_lossy(bytes);
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, rest.get(..length)?.to_owned(), head.len() + 4 + length))
}
