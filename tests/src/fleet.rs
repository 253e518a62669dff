//! Receivers in processes of their own, to be killed.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the receivers of a fleet are set.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long one operation of the store may take.
    pub store_timeout: Duration,
    /// For how long a claim lasts when its process dies.
    pub lease: Duration,
    /// How long a duplicate waits for the first delivery.
    pub duplicate_wait: Duration,
    /// How long the handler takes at most.
    pub handler_time: Duration,
    /// How long it takes once in sixty runs. Zero: there are no such runs.
    pub long_time: Duration,
}

/// Receivers on one store, each a process, with one log of what their handlers did.
#[derive(Debug)]
pub struct Fleet {
    program: PathBuf,
    arguments: Vec<String>,
    directory: PathBuf,
    receivers: Vec<Child>,
    targets: Targets,
    killed: HashSet<u32>,
}

/// Where the receivers are; one that is restarted is elsewhere.
#[derive(Clone, Debug)]
pub struct Targets(Arc<Mutex<Vec<SocketAddr>>>);

/// One run of a handler, as its receiver wrote it down before it did anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The event's id.
    pub id: String,
    /// The attempt that the handler was told.
    pub attempt: u32,
    /// When it started, in microseconds since 1970.
    pub started: u128,
    /// The process it ran in.
    pub process: u32,
}

impl Fleet {
    /// Starts so many receivers on the store of this URL, and waits until they listen.
    pub fn start(program: &str, count: usize, store: &str, settings: Settings) -> Self {
        static FLEETS: AtomicUsize = AtomicUsize::new(0);
        let number = FLEETS.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("roomz-fleet-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let log = directory.join("runs").display().to_string();
        let millis = |duration: Duration| duration.as_millis().to_string();
        let arguments = [
            ("--store", store.to_owned()),
            ("--log", log),
            ("--store-timeout", millis(settings.store_timeout)),
            ("--lease", millis(settings.lease)),
            ("--duplicate-wait", millis(settings.duplicate_wait)),
            ("--handler-time", millis(settings.handler_time)),
            ("--long-time", millis(settings.long_time)),
        ];
        let mut fleet = Self {
            program: Path::new(program).to_owned(),
            arguments: arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect(),
            directory,
            receivers: Vec::new(),
            targets: Targets(Arc::default()),
            killed: HashSet::new(),
        };
        for _ in 0..count {
            let (process, address) = fleet.receiver();
            fleet.receivers.push(process);
            fleet.targets.0.lock().unwrap().push(address);
        }
        fleet
    }

    fn receiver(&self) -> (Child, SocketAddr) {
        let mut process = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim().parse().unwrap_or_else(|_| panic!("a receiver that does not start: {line:?}"));
        (process, address)
    }

    /// Kills a receiver at once, whatever it does.
    pub fn kill(&mut self, index: usize) {
        let receiver = self.receivers.get_mut(index).unwrap();
        receiver.kill().unwrap();
        receiver.wait().unwrap();
        self.killed.insert(receiver.id());
    }

    /// Starts the successor of one that was killed.
    pub fn restart(&mut self, index: usize) {
        let (process, address) = self.receiver();
        *self.receivers.get_mut(index).unwrap() = process;
        *self.targets.0.lock().unwrap().get_mut(index).unwrap() = address;
    }

    /// Sends a receiver a signal, such as `STOP`.
    pub fn signal(&self, index: usize, signal: &str) {
        let process = self.receivers.get(index).unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &process]).status().unwrap().success());
    }

    /// How many receivers there are.
    pub fn count(&self) -> usize {
        self.receivers.len()
    }

    /// Where they are.
    pub fn targets(&self) -> Targets {
        self.targets.clone()
    }

    /// The processes that were killed.
    pub fn killed(&self) -> &HashSet<u32> {
        &self.killed
    }

    /// What the handlers did so far.
    pub fn runs(&self) -> Vec<Run> {
        let log = std::fs::read_to_string(self.directory.join("runs")).unwrap_or_default();
        log.lines().map(|line| Run::read(line).unwrap_or_else(|| panic!("half a line: {line:?}"))).collect()
    }
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
    /// The receiver whose turn it is.
    pub fn of_turn(&self, turn: usize) -> SocketAddr {
        let targets = self.0.lock().unwrap();
        *targets.get(turn % targets.len()).unwrap()
    }
}

impl Run {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        Some(Self {
            id: words.next()?.to_owned(),
            attempt: words.next()?.parse().ok()?,
            started: words.next()?.parse().ok()?,
            process: words.next()?.parse().ok()?,
        })
    }
}
