//! A real run: receivers in processes and namespaces of their own, deliveries in a closed loop, and the CPU
//! time of each process.

use std::env::current_exe;
use std::fs::{read_dir, read_to_string};
use std::net::SocketAddr;
use std::process::Child;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use roomz_tests::Server;
use roomz_tests::fleet::spawn_receiver;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::network::{DelayLine, Namespace};
use crate::report::median;
use crate::services::{Deliveries, bytes};

/// What a receiver does, and with which store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) server: &'a Server,
    pub(crate) is_postgres: bool,
    pub(crate) duplicates: bool,
}

/// CPU times are in seconds for each event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Events done per second, and the time until the response.
    pub(crate) per_second: f64,
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) receiver_cpu: f64,
    pub(crate) server_cpu: f64,
    /// Of the sender and the delay line.
    pub(crate) load_cpu: f64,
    /// Requests of the receivers to the store, transactions and syncs of the log, for each event.
    pub(crate) requests: f64,
    pub(crate) commits: f64,
    pub(crate) syncs: f64,
    /// The duration of a sync.
    pub(crate) sync: f64,
    /// Connections of a receiver to the store.
    pub(crate) connections: f64,
}

const DURATION: Duration = Duration::from_secs(3);

impl Setup<'_> {
    /// Runs this many receivers with this many deliveries in flight for each.
    pub(crate) async fn run(self, hosts: &[Namespace], in_flight: usize, round_trip: Duration) -> Measured {
        let (line, before) = (DelayLine::start(self.server.address(), round_trip), self.server_log().await);
        let receivers: Vec<_> = hosts.iter().map(|host| self.start(host, line.port)).collect();
        let send = async |duration| {
            let connections = receivers.iter().flat_map(|(_, address)| vec![*address; in_flight]);
            join_all(connections.map(|address| send(address, self.duplicates, duration))).await
        };
        // The first deliveries open the connections to the store.
        let _ = send(Duration::from_millis(300)).await;
        self.wait_until_done().await;
        let processes: Vec<_> = receivers.iter().map(|(process, _)| process.id()).collect();
        let cpu = || [cpu_of(&processes), cpu_of(&self.server.processes()), cpu_of(&[std::process::id()])];
        let (start, cpu_before, requests) = (Instant::now(), cpu(), line.requests());
        let latencies: Vec<_> = send(DURATION).await.into_iter().flatten().collect();
        self.wait_until_done().await;
        let (elapsed, cpu_after) = (start.elapsed().as_secs_f64(), cpu());
        let (count, requests) = (latencies.len() as f64, line.requests() - requests);
        let [receiver_cpu, server_cpu, load_cpu] =
            std::array::from_fn(|at| (cpu_after[at] - cpu_before[at]) / count);
        let connections = self.connections().await / hosts.len() as f64;
        for (mut process, _) in receivers {
            process.kill().unwrap();
            let _ = process.wait().unwrap();
        }
        let after = self.server_log().await;
        let [commits, syncs, sync_time] = std::array::from_fn(|at| after[at] - before[at]);
        let mut sorted = latencies;
        Measured {
            per_second: count / elapsed,
            median: median(&mut sorted),
            p99: sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(f64::NAN),
            receiver_cpu,
            server_cpu,
            load_cpu,
            requests: requests as f64 / count,
            commits: commits / count,
            syncs: syncs / count,
            sync: if syncs > 0.0 { sync_time / syncs } else { 0.0 },
            connections,
        }
    }

    fn start(&self, host: &Namespace, port: u16) -> (Child, SocketAddr) {
        let mut command = host.command(current_exe().unwrap().to_str().unwrap());
        let (scheme, path) =
            if self.is_postgres { ("postgres://postgres@", "/postgres") } else { ("redis://", "") };
        let url = format!("{scheme}{}:{port}{path}", host.host());
        spawn_receiver(command.args(["receiver", self.kind, &url, &format!("{}:0", host.address())]))
    }

    async fn sql(&self) -> PgConnection {
        PgConnection::connect(&self.server.postgres_url()).await.unwrap()
    }

    async fn number(&self, sql: &str) -> f64 {
        let sql = AssertSqlSafe(format!("SELECT CAST(({sql}) AS DOUBLE PRECISION)"));
        sqlx::query_scalar(sql).fetch_one(&mut self.sql().await).await.unwrap()
    }

    /// Transactions, syncs of the log, and the seconds of the syncs so far.
    async fn server_log(&self) -> [f64; 3] {
        if !self.is_postgres {
            return [0.0; 3];
        }
        // A session reports its statistics at its end.
        self.sql().await.execute("CREATE TABLE IF NOT EXISTS presence_log (event_id TEXT)").await.unwrap();
        sleep(Duration::from_millis(500)).await;
        [
            self.number("SELECT sum(xact_commit) FROM pg_stat_database").await,
            self.number("SELECT wal_sync FROM pg_stat_wal").await,
            self.number("SELECT wal_sync_time / 1000 FROM pg_stat_wal").await,
        ]
    }

    async fn connections(&self) -> f64 {
        if self.is_postgres {
            let own = "SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'";
            return self.number(own).await;
        }
        let clients = self.server.redis_text("CLIENT LIST");
        clients.lines().filter(|line| line.contains("addr=")).count() as f64 - 1.0
    }

    /// With an inbox: until the workers have done every event.
    async fn wait_until_done(&self) {
        if self.is_inbox() {
            let mut connection = self.sql().await;
            let is_open = "SELECT EXISTS (SELECT 1 FROM roomz_inbox WHERE state < 2)";
            while sqlx::query_scalar(is_open).fetch_one(&mut connection).await.unwrap() {
                sleep(Duration::from_millis(10)).await;
            }
        }
    }

    pub(crate) fn is_inbox(&self) -> bool {
        self.kind.starts_with("inbox")
    }
}

/// Sends one event after the other, or always the same, and returns the latencies in seconds.
async fn send(address: SocketAddr, duplicates: bool, duration: Duration) -> Vec<f64> {
    // Each connection has ids of its own.
    let mut deliveries = Deliveries::from_id(u64::from(rand::random::<u32>()) << 16);
    let mut request = bytes(deliveries.next_event());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (start, mut latencies, mut buffer) = (Instant::now(), Vec::new(), [0; 1_024]);
    while start.elapsed() < duration {
        let sent = Instant::now();
        stream.write_all(&request).await.unwrap();
        let mut length = 0;
        while !is_complete(&buffer[..length]) {
            let read = stream.read(&mut buffer[length..]).await.unwrap();
            assert!(read > 0, "the receiver closed the connection");
            length += read;
        }
        assert!(buffer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&buffer[..length]));
        latencies.push(sent.elapsed().as_secs_f64());
        if !duplicates {
            request = bytes(deliveries.next_event());
        }
    }
    latencies
}

/// Whether this is a whole response: the answer to a duplicate has a body.
fn is_complete(response: &[u8]) -> bool {
    let text = String::from_utf8_lossy(response).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() == length.parse::<usize>().unwrap())
}

/// The seconds that the threads of these processes have run.
fn cpu_of(processes: &[u32]) -> f64 {
    let threads = processes.iter().flat_map(|id| read_dir(format!("/proc/{id}/task")).into_iter().flatten());
    let nanos = threads.flatten().filter_map(|thread| {
        let text = read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    nanos.sum::<f64>() / 1e9
}
