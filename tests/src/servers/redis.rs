use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::OnceLock;

use super::{Program, Server, directory, end_with_this_process, free_port, left_out};

const REDIS: Program = Program {
    name: "redis-server",
    command: || Some(Command::new("redis-server")),
    // It writes its process id when it has the port, and ends when it cannot have it.
    is_ready: |directory, id| {
        std::fs::read_to_string(directory.join("pid")).is_ok_and(|text| text.trim() == id.to_string())
    },
};

impl Server {
    /// Starts a Redis server with these arguments more. `None` when there is no `redis-server` on the PATH.
    pub fn redis(arguments: &[&str]) -> Option<Self> {
        for _ in 0..10 {
            let mut server = Self::spawn_redis(free_port(), arguments)?;
            // Somebody else may have taken the port in between.
            if server.gets_ready() {
                return Some(server);
            }
        }
        panic!("redis-server does not listen");
    }

    /// The same on this port, such as that of a server that was killed.
    pub fn redis_on(port: u16, arguments: &[&str]) -> Option<Self> {
        let mut server = Self::spawn_redis(port, arguments)?;
        server.insist();
        Some(server)
    }

    fn spawn_redis(port: u16, arguments: &[&str]) -> Option<Self> {
        let port_text = port.to_string();
        let first: &[_] = &["--port", &port_text, "--bind", "127.0.0.1", "--pidfile", "pid", "--save", ""];
        let all = [first, &["--appendonly", "no"], arguments].concat();
        let all = all.into_iter().map(str::to_owned).collect();
        Self::spawn(REDIS, directory("redis", port), port, all)
    }

    /// Sends a Redis server a command, and gives the first line of its answer.
    pub fn redis_command(&self, command: &str) -> String {
        let mut connection = TcpStream::connect(self.address()).unwrap();
        connection.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(connection).read_line(&mut answer).unwrap();
        answer.trim().to_owned()
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
