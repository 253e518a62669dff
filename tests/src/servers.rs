use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A server that a test started, in a directory of its own and on a port of its own; it ends with the process.
#[derive(Debug)]
pub struct Server {
    process: Child,
    directory: PathBuf,
    port: u16,
}

impl Server {
    /// Starts a Redis server with these arguments more. `None` when there is no `redis-server` on the PATH.
    pub fn redis(arguments: &[&str]) -> Option<Self> {
        Self::redis_on(free_port(), arguments)
    }

    /// The same on this port, such as that of a server that was killed.
    pub fn redis_on(port: u16, arguments: &[&str]) -> Option<Self> {
        let directory = std::env::temp_dir().join(format!("roomz-redis-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(arguments)
            .current_dir(&directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self { process, directory, port };
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "redis-server does not listen");
            std::thread::yield_now();
        }
        Some(server)
    }

    /// Starts a PostgreSQL server with these settings (`name=value`) more; its user and database are `postgres`, and it asks
    /// for no password. `None` when `initdb` and `postgres` are neither on the PATH nor where Debian has them.
    pub fn postgres(settings: &[&str]) -> Option<Self> {
        let (initdb, postgres) = (postgres_program("initdb")?, postgres_program("postgres")?);
        let port = free_port();
        let directory = std::env::temp_dir().join(format!("roomz-postgres-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let made = as_nobody(&initdb)
            .args(["--auth", "trust", "--username", "postgres", "--encoding", "UTF8", "--no-sync", "--pgdata"])
            .arg(&directory)
            .current_dir(&directory)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        Some(Self::postgres_in(&postgres, directory, port, settings))
    }

    fn postgres_in(program: &Path, directory: PathBuf, port: u16, settings: &[&str]) -> Self {
        let mut command = as_nobody(program);
        command.args(["-p", &port.to_string(), "-h", "127.0.0.1", "-D"]).arg(&directory);
        for setting in [&["unix_socket_directories=", "fsync=on", "max_connections=200"], settings].concat() {
            command.args(["-c", setting]);
        }
        let process =
            command.current_dir(&directory).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { process, directory, port };
        let start = Instant::now();
        while !server.postgres_is_ready() {
            assert!(start.elapsed() < Duration::from_secs(20), "postgres does not get ready");
        }
        server
    }

    /// It listens before it is ready.
    fn postgres_is_ready(&self) -> bool {
        let program = postgres_program("pg_isready").unwrap();
        let mut command = Command::new(program);
        let command = command.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.status().unwrap().success()
    }

    /// The URL of a PostgreSQL server.
    pub fn postgres_url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Sends it a signal, such as `STOP`.
    pub fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The URL of a Redis server for tests: that of `ROOMZ_TEST_REDIS`, or one started for this process. `None`, said past
/// the test runner's capture, when there is neither; `ROOMZ_TESTS=complete` makes that fail instead.
pub fn redis_url() -> Option<String> {
    static URL: OnceLock<Option<String>> = OnceLock::new();
    URL.get_or_init(|| {
        if let Ok(url) = std::env::var("ROOMZ_TEST_REDIS") {
            return Some(url);
        }
        let Some(server) = Server::redis(&[]) else {
            left_out(
                "tests with Redis",
                "there is no `redis-server` on the PATH and ROOMZ_TEST_REDIS is not set",
            );
            return None;
        };
        let url = format!("redis://127.0.0.1:{}", server.port());
        end_with_this_process(server);
        Some(url)
    })
    .clone()
}

/// The URL of a PostgreSQL server for tests: that of `ROOMZ_TEST_POSTGRES`, or one started for this process, as
/// [`redis_url`].
pub fn postgres_url() -> Option<String> {
    static URL: OnceLock<Option<String>> = OnceLock::new();
    URL.get_or_init(|| {
        if let Ok(url) = std::env::var("ROOMZ_TEST_POSTGRES") {
            return Some(url);
        }
        let Some(server) = Server::postgres(&[]) else {
            left_out(
                "tests with PostgreSQL",
                "there is no `postgres` on the PATH and ROOMZ_TEST_POSTGRES is not set",
            );
            return None;
        };
        let url = server.postgres_url();
        end_with_this_process(server);
        Some(url)
    })
    .clone()
}

/// PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn as_nobody(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let nobody = NOBODY.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"]).arg(program);
    command
}

/// On the PATH, or where Debian keeps the servers of each version.
fn postgres_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = debian.filter_map(|version| Some(version.ok()?.path().join("bin")));
    std::env::split_paths(&path).chain(debian).map(|directory| directory.join(name)).find(|file| file.is_file())
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
