//! Receivers in processes of their own, so that a test can kill them.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::recorder::{Call, Log};

/// The settings of the receivers and of their sender.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The store timeout of the layer.
    pub store_timeout: Duration,
    /// The lease of a claim.
    pub lease: Duration,
    /// The maximum time that a duplicate waits for the first delivery.
    pub duplicate_wait: Duration,
    /// The maximum duration of a handler.
    pub handler_time: Duration,
    /// The duration of one in sixty runs. Zero: no such runs.
    pub long_handler_time: Duration,
    /// The time after which the sender closes a connection without a response and sends the event to the next
    /// receiver.
    pub request_timeout: Duration,
}

/// Receivers on one store, each in its own process. Their handlers write to one log, their stores to another.
#[derive(Debug)]
pub struct Fleet {
    program: PathBuf,
    arguments: Vec<String>,
    directory: PathBuf,
    receivers: Vec<Child>,
    targets: Targets,
    killed: HashSet<u32>,
}

/// The addresses of the receivers. A restarted receiver has a new one.
#[derive(Clone, Debug)]
pub struct Targets(Arc<Mutex<Vec<SocketAddr>>>);

/// One run of a handler. The receiver logs it before it does anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The event's id.
    pub id: String,
    /// The attempt number that the handler received.
    pub attempt: u32,
    /// The start, in microseconds since 1970.
    pub started: u128,
    /// The id of the process.
    pub process: u32,
    /// Whether the handler will respond with an error.
    pub fails: bool,
}

/// The log of runs in the directory of a fleet.
pub const RUNS: &str = "runs";
/// The log of calls of the store in the directory of a fleet.
pub const CALLS: &str = "calls";

/// The name and the value of an argument of a receiver.
pub type Argument = (&'static str, String);

impl Settings {
    /// The arguments of a receiver on the store with this URL.
    pub fn arguments(&self, store: &str) -> Vec<Argument> {
        vec![
            ("--store", store.to_owned()),
            ("--store-timeout", millis(self.store_timeout)),
            ("--lease", millis(self.lease)),
            ("--duplicate-wait", millis(self.duplicate_wait)),
            ("--handler-time", millis(self.handler_time)),
            ("--long-handler-time", millis(self.long_handler_time)),
        ]
    }
}

/// The value of an argument for a time.
pub fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

impl Fleet {
    /// Starts `count` receivers with these arguments and a directory for their logs, and waits until they
    /// listen.
    pub fn start(program: &str, count: usize, arguments: Vec<Argument>) -> Self {
        static FLEETS: AtomicUsize = AtomicUsize::new(0);
        let number = FLEETS.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("roomz-fleet-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let logs = ("--logs", directory.display().to_string());
        let mut fleet = Self {
            program: Path::new(program).to_owned(),
            arguments: arguments
                .into_iter()
                .chain([logs])
                .flat_map(|(name, value)| [name.to_owned(), value])
                .collect(),
            directory,
            receivers: Vec::new(),
            targets: Targets(Arc::default()),
            killed: HashSet::new(),
        };
        for _ in 0..count {
            let (process, address) = fleet.spawn();
            fleet.receivers.push(process);
            fleet.targets.0.lock().unwrap().push(address);
        }
        fleet
    }

    fn spawn(&self) -> (Child, SocketAddr) {
        spawn_receiver(Command::new(&self.program).args(&self.arguments))
    }

    /// Kills a receiver with `SIGKILL`.
    pub fn kill(&mut self, index: usize) {
        let receiver = self.receivers.get_mut(index).unwrap();
        receiver.kill().unwrap();
        receiver.wait().unwrap();
        self.killed.insert(receiver.id());
    }

    /// Replaces a killed receiver.
    pub fn restart(&mut self, index: usize) {
        let (process, address) = self.spawn();
        *self.receivers.get_mut(index).unwrap() = process;
        *self.targets.0.lock().unwrap().get_mut(index).unwrap() = address;
    }

    /// Replaces receivers that have ended on their own. They count as killed. Returns how many there were.
    pub fn restart_ended(&mut self) -> usize {
        let ended: Vec<_> = self
            .receivers
            .iter_mut()
            .enumerate()
            .filter_map(|(index, receiver)| receiver.try_wait().unwrap().map(|_| index))
            .collect();
        for &index in &ended {
            self.killed.insert(self.process(index));
            self.restart(index);
        }
        ended.len()
    }

    /// The process id of a receiver.
    pub fn process(&self, index: usize) -> u32 {
        self.receivers.get(index).unwrap().id()
    }

    /// Sends a signal, such as `STOP`, to a receiver.
    pub fn signal(&self, index: usize, signal: &str) {
        let process = self.process(index).to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &process]).status().unwrap().success());
    }

    /// The number of receivers.
    pub fn count(&self) -> usize {
        self.receivers.len()
    }

    /// The addresses of the receivers.
    pub fn targets(&self) -> Targets {
        self.targets.clone()
    }

    /// The ids of the killed processes.
    pub fn killed(&self) -> &HashSet<u32> {
        &self.killed
    }

    /// All runs of handlers so far.
    pub fn runs(&self) -> Vec<Run> {
        self.log(RUNS)
    }

    /// All calls of the store so far.
    pub fn calls(&self) -> Vec<Call> {
        self.log(CALLS)
    }

    /// All lines of a log so far.
    pub fn log<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Vec<T> {
        Log::read(&self.directory.join(name))
    }
}

/// Starts a receiver, and waits until it listens. It ends with this process.
pub fn spawn_receiver(command: &mut Command) -> (Child, SocketAddr) {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address =
        line.trim().parse().unwrap_or_else(|_| panic!("the receiver did not start; it printed {line:?}"));
    (process, address)
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for receiver in &mut self.receivers {
            let _ = receiver.kill();
            let _ = receiver.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Targets {
    /// The receiver of this turn: each in turn.
    pub fn at_turn(&self, turn: usize) -> SocketAddr {
        let targets = self.0.lock().unwrap();
        *targets.get(turn % targets.len()).unwrap()
    }
}
