use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::OnceLock;

use super::{Program, Server, directory, free_port};
use crate::skipped;

const REDIS: Program = Program {
    name: "redis-server",
    command: || Some(Command::new("redis-server")),
    // Redis writes its process id after it has bound the port, and exits if the port is in use.
    is_ready: |directory, id| {
        std::fs::read_to_string(directory.join("pid")).is_ok_and(|text| text.trim() == id.to_string())
    },
};

/// An argument of a server that accepts only TLS.
const TLS_ARGUMENT: &str = "--tls-ca-cert-file";

impl Server {
    /// Starts a Redis server with these additional arguments. Returns `None` if no `redis-server` is on the
    /// PATH.
    pub fn redis(arguments: &[&str]) -> Option<Self> {
        Self::redis_with_files(&[], arguments)
    }

    /// Like [`redis`](Self::redis), with these files (name and text) in the directory of the server.
    pub fn redis_with_files(files: &[(&str, &[u8])], arguments: &[&str]) -> Option<Self> {
        for _ in 0..10 {
            let mut server = Self::spawn_redis(free_port(), files, arguments)?;
            // Another process may have bound the port in the meantime.
            if server.is_ready_or_exited() {
                return Some(server);
            }
        }
        panic!("redis-server did not start on any of 10 ports");
    }

    /// Like [`redis`](Self::redis). If it cannot start, reports that the tests are skipped.
    pub fn redis_or_skip(arguments: &[&str]) -> Option<Self> {
        let server = Self::redis(arguments);
        if server.is_none() {
            skipped("tests that start Redis", "there is no `redis-server` on the PATH");
        }
        server
    }

    /// Like [`redis`](Self::redis), on this port, such as the port of a killed server.
    pub fn redis_on(port: u16, arguments: &[&str]) -> Option<Self> {
        let mut server = Self::spawn_redis(port, &[], arguments)?;
        server.wait_until_ready();
        Some(server)
    }

    fn spawn_redis(port: u16, files: &[(&str, &[u8])], arguments: &[&str]) -> Option<Self> {
        let directory = directory("redis", port);
        // A sentinel and a node of a cluster write to their files.
        for (name, text) in files {
            std::fs::write(directory.join(name), text).unwrap();
        }
        let port_text = port.to_string();
        let ports: &[_] = if arguments.contains(&TLS_ARGUMENT) {
            &["--port", "0", "--tls-port", &port_text]
        } else {
            &["--port", &port_text]
        };
        let first = [ports, &["--bind", "127.0.0.1", "--pidfile", "pid", "--save", ""]].concat();
        let all = match arguments {
            // The name of the configuration file comes first.
            [config, arguments @ ..] if !config.starts_with("--") => {
                [&[*config], first.as_slice(), arguments].concat()
            }
            _ => [first.as_slice(), &["--appendonly", "no"], arguments].concat(),
        };
        let all = all.into_iter().map(str::to_owned).collect();
        Self::spawn(REDIS, directory, port, all)
    }

    /// The whole reply to a command without quotes, by `redis-cli` with the password of the server.
    pub fn redis_text(&self, command: &str) -> String {
        self.redis_cli(&command.split(' ').collect::<Vec<_>>())
    }

    /// Like [`redis_text`](Self::redis_text), with arguments that may be empty.
    pub fn redis_cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port().to_string()]);
        if let Some(certificate) = self.argument(TLS_ARGUMENT) {
            command.args(["--tls", "--cacert", certificate]);
        }
        command.args(arguments).env("REDISCLI_AUTH", self.argument("--requirepass").unwrap_or_default());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    /// Sends a command to a Redis server. Returns the first line of the reply.
    pub fn redis_command(&self, command: &str) -> String {
        let mut connection = TcpStream::connect(self.address()).unwrap();
        connection.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut reply = String::new();
        BufReader::new(connection).read_line(&mut reply).unwrap();
        reply.trim().to_owned()
    }
}

/// The URL of a Redis server: from `ROOMZ_TEST_REDIS`, or of a server that is started once per process. With
/// neither, reports that the tests are skipped and returns `None`.
pub fn redis_url_or_skip() -> Option<String> {
    static URL: OnceLock<Option<String>> = OnceLock::new();
    URL.get_or_init(|| {
        if let Ok(url) = std::env::var("ROOMZ_TEST_REDIS") {
            return Some(url);
        }
        let Some(server) = Server::redis(&[]) else {
            skipped(
                "tests with Redis",
                "there is no `redis-server` on the PATH and ROOMZ_TEST_REDIS is not set",
            );
            return None;
        };
        let url = format!("redis://127.0.0.1:{}", server.port());
        server.kill_with_this_process();
        Some(url)
    })
    .clone()
}
