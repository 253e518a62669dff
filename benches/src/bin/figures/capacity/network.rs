//! A network of hosts: each receiver has a network namespace of its own, and its connections to the store
//! cross a delay line.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// A network namespace and the link to it. `Drop` removes both.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    number: u8,
}

impl Namespace {
    /// Returns why it is not possible, if it is not.
    pub(crate) fn create(number: u8) -> Result<Self, String> {
        let (name, this) = (format!("roomz{}-{number}", std::process::id()), Self::host_of(number));
        ip(&["netns", "add", &name])?;
        let namespace = Self { name, number };
        let (name, link) = (&namespace.name, namespace.link());
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", name])?;
        ip(&["addr", "add", &format!("{this}/30"), "dev", &link])?;
        ip(&["link", "set", &link, "up"])?;
        ip(&["-n", name, "addr", "add", &format!("{}/30", namespace.address()), "dev", "eth0"])?;
        ip(&["-n", name, "link", "set", "eth0", "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// A program in the namespace.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        let _ = command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// The address in the namespace.
    pub(crate) fn address(&self) -> String {
        format!("10.213.{}.2", self.number)
    }

    /// The address of this host, as the namespace sees it.
    pub(crate) fn host(&self) -> String {
        Self::host_of(self.number)
    }

    fn host_of(number: u8) -> String {
        format!("10.213.{number}.1")
    }

    fn link(&self) -> String {
        format!("rz{}-{}", std::process::id(), self.number)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.link()]);
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("ip {}: {error}", arguments.join(" "))) }
}

/// Forwards connections to a server. What arrives at once is late by the same time, so the line delays and
/// does not limit. (A kernel with `netem` does the same; many kernels have none.) Its threads end with the
/// process.
#[derive(Debug)]
pub(crate) struct DelayLine {
    pub(crate) port: u16,
    /// What the clients sent: round trips, or several of them that went in one packet.
    requests: Arc<AtomicUsize>,
}

impl DelayLine {
    /// Half of the round trip is the delay of each direction.
    pub(crate) fn start(server: SocketAddr, round_trip: Duration) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let (port, requests) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&requests);
        drop(spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
                let copy = |stream: &TcpStream| stream.try_clone().unwrap();
                forward(copy(&client), copy(&server), round_trip / 2, Some(Arc::clone(&counter)));
                forward(server, client, round_trip / 2, None);
            }
        }));
        Self { port, requests }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, delay: Duration, counter: Option<Arc<AtomicUsize>>) {
    to.set_nodelay(true).unwrap();
    let (sender, delayed) = mpsc::channel::<(Instant, Vec<u8>)>();
    drop(spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if let Some(counter) = &counter {
                let _ = counter.fetch_add(1, Ordering::Relaxed);
            }
            let _ = sender.send((Instant::now() + delay, buffer[..length].to_vec()));
        }
    }));
    drop(spawn(move || {
        for (at, bytes) in delayed {
            sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }));
}
