//! Real servers: from the environment, or started by a test.

mod authority;
mod clock;
mod cluster;
mod nats;
mod nginx;
mod pgbouncer;
mod pgpool;
mod postgres;
mod prometheus;
mod redis;

use std::fs::read_to_string;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use self::authority::Authority;
pub use self::cluster::{
    RedisCluster, RedisSentinels, poll, redis_cluster_url_or_skip, redis_sentinel_url_or_skip,
};
pub use self::postgres::postgres_url_or_skip;
pub use self::prometheus::promtool_or_skip;
pub use self::redis::redis_url_or_skip;

const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// A server that a test started, with its own directory and port. `Drop` kills it and deletes the directory.
#[derive(Debug)]
pub struct Server {
    program: Program,
    process: Child,
    arguments: Vec<String>,
    directory: PathBuf,
    port: u16,
}

/// How to start a kind of server, and how to detect that it is ready.
#[derive(Clone, Copy, Debug)]
struct Program {
    name: &'static str,
    command: fn() -> Option<Command>,
    /// Whether the server with this process id has written to this directory that it is ready.
    is_ready: fn(&Path, u32) -> bool,
}

impl Server {
    fn spawn(program: Program, directory: PathBuf, port: u16, arguments: Vec<String>) -> Option<Self> {
        let process = program.spawn(&arguments, &directory)?;
        Some(Self { program, process, arguments, directory, port })
    }

    /// Kills the server with `SIGKILL`. Its directory stays.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.process.wait().unwrap();
        clock::forget(self.process.id());
    }

    /// Starts a killed server again, with the same port and directory.
    pub fn restart(&mut self) {
        self.process = self.program.spawn(&self.arguments, &self.directory).unwrap();
        self.wait_until_ready();
    }

    /// Restarts the server until it is ready: its port or directory may still be in use.
    fn wait_until_ready(&mut self) {
        let start = Instant::now();
        while !self.is_ready_or_exited() {
            let name = self.program.name;
            assert!(start.elapsed() < STARTUP_TIMEOUT, "{name} is not ready after {STARTUP_TIMEOUT:?}");
            self.process = self.program.spawn(&self.arguments, &self.directory).unwrap();
        }
    }

    /// Waits until the server is ready (`true`) or has exited (`false`).
    fn is_ready_or_exited(&mut self) -> bool {
        loop {
            if (self.program.is_ready)(&self.directory, self.process.id()) {
                return true;
            }
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Sends a signal, such as `STOP`, to the server and its child processes.
    pub fn signal(&self, signal: &str) {
        let send = |process: u32| {
            let sent = Command::new("kill")
                .args([&format!("-{signal}"), &process.to_string()])
                .stderr(Stdio::null())
                .status();
            sent.unwrap();
        };
        let server = self.process.id();
        let children_before = children(server);
        send(server);
        // It may have started another one before the signal arrived.
        children_before.into_iter().chain(children(server)).for_each(send);
    }

    /// The ids of the server and of its child processes.
    pub fn processes(&self) -> Vec<u32> {
        let server = self.process.id();
        std::iter::once(server).chain(children(server)).collect()
    }

    /// The value of an argument of the server.
    fn argument(&self, name: &str) -> Option<&str> {
        self.arguments.iter().skip_while(|argument| *argument != name).nth(1).map(String::as_str)
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The port of the server.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Program {
    fn spawn(self, arguments: &[String], directory: &Path) -> Option<Child> {
        let mut command = (self.command)()?;
        command.args(arguments).current_dir(directory).stdout(Stdio::null()).stderr(Stdio::null());
        clock::use_clock_of(directory, &mut command);
        command.spawn().ok()
    }
}

/// The child processes of a process, on systems with `/proc`.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let stat = read_to_string(entry.path().join("stat")).ok()?;
            // The name can contain any character, so the fields are counted from its closing bracket: state,
            // parent.
            let parent_of_entry = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            (parent_of_entry.parse() == Ok(parent)).then(|| entry.file_name().to_str()?.parse().ok())?
        })
        .collect()
}

/// Creates the directory of a new server.
fn directory(name: &str, port: u16) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("roomz-{name}-{}-{port}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

impl Server {
    /// Kills the server when this process ends. A shell waits for the end, because statics are not dropped.
    pub fn kill_with_this_process(self) {
        let script = format!(
            "while kill -0 {} 2>/dev/null; do sleep 1; done; kill -9 {}; rm -rf '{}'",
            std::process::id(),
            self.process.id(),
            self.directory.display()
        );
        let watchdog = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        drop(watchdog);
        std::mem::forget(self);
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
