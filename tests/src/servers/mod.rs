//! Real servers, taken from the environment or started in a directory and on a port of their own.

mod postgres;
mod redis;

use std::fs::read_to_string;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use self::postgres::postgres_url;
pub use self::redis::redis_url;

/// A server that a test started, in a directory of its own and on a port of its own; it ends with the process.
#[derive(Debug)]
pub struct Server {
    program: Program,
    process: Child,
    arguments: Vec<String>,
    directory: PathBuf,
    port: u16,
}

/// How a kind of server is run, and how it says that it is ready.
#[derive(Clone, Copy, Debug)]
struct Program {
    name: &'static str,
    command: fn() -> Option<Command>,
    /// Whether a server of this process id is ready, by what it wrote to this directory.
    is_ready: fn(&Path, u32) -> bool,
}

impl Server {
    fn spawn(program: Program, directory: PathBuf, port: u16, arguments: Vec<String>) -> Option<Self> {
        let process = program.spawn(&arguments, &directory)?;
        Some(Self { program, process, arguments, directory, port })
    }

    /// Kills it at once, whatever it does. What it wrote to its directory stays.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.process.wait().unwrap();
    }

    /// Starts it again after it was killed, on the same port and in the same directory.
    pub fn restart(&mut self) {
        self.process = self.program.spawn(&self.arguments, &self.directory).unwrap();
        self.insist();
    }

    /// Starts it until it is ready: its port or its directory may not be free yet.
    fn insist(&mut self) {
        let start = Instant::now();
        while !self.gets_ready() {
            assert!(start.elapsed() < Duration::from_secs(20), "{} does not get ready", self.program.name);
            self.process = self.program.spawn(&self.arguments, &self.directory).unwrap();
        }
    }

    /// Waits until it is ready, or has ended.
    fn gets_ready(&mut self) -> bool {
        loop {
            if (self.program.is_ready)(&self.directory, self.process.id()) {
                return true;
            }
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a signal, such as `STOP`, to it and the processes it started.
    pub fn signal(&self, signal: &str) {
        let process = self.process.id();
        for process in std::iter::once(process).chain(children(process)) {
            let sent = Command::new("kill")
                .args([&format!("-{signal}"), &process.to_string()])
                .stderr(Stdio::null())
                .status();
            sent.unwrap();
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The port it listens on.
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
        command.spawn().ok()
    }
}

/// The processes whose parent this is, where the system has them as files.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let stat = read_to_string(entry.path().join("stat")).ok()?;
            // After the name, which may hold anything: state, parent.
            let of = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            (of.parse() == Ok(parent)).then(|| entry.file_name().to_str()?.parse().ok())?
        })
        .collect()
}

/// A new directory of a server.
fn directory(name: &str, port: u16) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("roomz-{name}-{}-{port}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Statics are not dropped: a small shell waits for this process to end, however it does.
fn end_with_this_process(server: Server) {
    let script = format!(
        "while kill -0 {} 2>/dev/null; do sleep 1; done; kill -9 {}; rm -rf '{}'",
        std::process::id(),
        server.process.id(),
        server.directory.display()
    );
    let watchdog = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    drop(watchdog);
    std::mem::forget(server);
}

/// Says that tests are left out, and why.
pub fn left_out(what: &str, why: &str) {
    assert!(
        std::env::var("ROOMZ_TESTS").as_deref() != Ok("complete"),
        "nothing may be left out here, but {what}: {why}"
    );
    let _ = writeln!(std::io::stderr(), "left out: {what}, because {why}");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
