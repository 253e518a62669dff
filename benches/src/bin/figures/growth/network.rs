//! Servers with many connections.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use crate::services::{Deliveries, bytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{Curve, Line, powers};
use crate::report::{Report, median};
use crate::server::{Connections, Server, exchange, with_sender};

const REQUESTS: usize = 20_000;
const VIEWED_EVENTS: usize = 100;

pub(super) fn connections(report: &Report) -> Result<Curve, String> {
    let mut lines: Vec<Line> = Vec::new();
    let mut deliveries = Deliveries::new();
    for (app, name) in [
        ("bare", "bare axum server"),
        ("axum-moka", "layer, `axum::serve`"),
        ("kit-moka", "layer, `roomz_axum::serve`"),
    ] {
        let mut points = Vec::new();
        for count in powers(0, 10_000) {
            let server = Server::start(app, 1_000_000, 0);
            let mut requests = |count| (0..count).map(|_| bytes(deliveries.next_event())).collect::<Vec<_>>();
            let (first, rounds) = (requests(count), vec![REQUESTS; report.rounds]);
            let rounds: Vec<_> = rounds.into_iter().map(requests).collect();
            let mut micros = with_sender(async || {
                let mut connections = Connections::open(server.address, &first).await;
                let mut micros = Vec::new();
                for requests in &rounds {
                    let before = server.cpu_nanos();
                    connections.send(requests).await;
                    micros.push((server.cpu_nanos() - before) as f64 / 1e3 / REQUESTS as f64);
                }
                micros
            });
            points.push((count as f64, median(&mut micros)));
        }
        lines.push((format!("{name}, µs"), points));
    }
    Ok(Curve { title: "Server CPU of a new event", unit_x: "connections in use", lines })
}

pub(super) fn viewers(report: &Report) -> Result<Curve, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--release", "--quiet", "-p", "presence-board"]).status();
    if !status.is_ok_and(|status| status.success()) {
        return Err("cargo cannot build presence-board".to_owned());
    }
    let board: PathBuf = std::env::current_exe().unwrap().with_file_name("presence-board");
    let (mut cpu, mut last) = (Vec::new(), Vec::new());
    for count in powers(0, 1_000) {
        let mut command = Command::new(&board);
        let _ = command
            .args(["--listen", "127.0.0.1:0"])
            .env("ROOMZ_WEBHOOK_SECRET", "the webhook secret")
            .stderr(Stdio::null());
        let server = Server::start_command(command);
        let mut deliveries = Deliveries::new();
        let (mut micros, mut millis) = with_sender(async || {
            let seen = Arc::new(Semaphore::new(0));
            for _ in 0..count {
                let mut stream = TcpStream::connect(server.address).await.unwrap();
                stream.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
                drop(tokio::spawn(view(stream, Arc::clone(&seen))));
            }
            // Each has its snapshot.
            seen.acquire_many(count as u32).await.unwrap().forget();
            let mut sender = TcpStream::connect(server.address).await.unwrap();
            let (mut micros, mut millis) = (Vec::new(), Vec::new());
            for _ in 0..report.rounds {
                let before = server.cpu_nanos();
                for _ in 0..VIEWED_EVENTS {
                    let request = bytes(deliveries.next_event_to("/webhooks/roomz"));
                    let start = Instant::now();
                    exchange(&mut sender, &request).await;
                    seen.acquire_many(count as u32).await.unwrap().forget();
                    millis.push(start.elapsed().as_secs_f64() * 1e3);
                }
                micros.push((server.cpu_nanos() - before) as f64 / 1e3 / VIEWED_EVENTS as f64);
            }
            (micros, millis)
        });
        cpu.push((count as f64, median(&mut micros)));
        last.push((count as f64, median(&mut millis)));
    }
    let lines = vec![("server CPU, µs".to_owned(), cpu), ("to the last viewer, ms".to_owned(), last)];
    Ok(Curve { title: "The board, an event", unit_x: "viewers", lines })
}

/// Adds a permit for the snapshot and for each update.
async fn view(mut stream: TcpStream, seen: Arc<Semaphore>) {
    const STARTS: [&[u8]; 2] = [b"event: snapshot\n", b"event: delivery\n"];
    let (mut read, length) = (Vec::new(), STARTS[0].len());
    while stream.read_buf(&mut read).await.unwrap() > 0 {
        seen.add_permits(read.windows(length).filter(|window| STARTS.contains(window)).count());
        let _ = read.drain(..read.len().saturating_sub(length - 1));
    }
}
