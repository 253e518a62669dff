use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Program, Server, directory, free_port};
use crate::skipped;

const PROMETHEUS: Program = Program {
    name: "prometheus",
    command: || Some(Command::new("prometheus")),
    // The server exits if the port is in use.
    is_ready: |directory, _| {
        let port = std::fs::read_to_string(directory.join("port")).ok().and_then(|port| port.parse().ok());
        port.is_some_and(|port| request(port, "GET", "/-/ready", "").is_some_and(|(status, _)| status == 200))
    },
};

impl Server {
    /// Starts a Prometheus server with these files (name and text) in its directory. One of them is
    /// `prometheus.yml`. If it cannot start, reports that the tests are skipped.
    pub fn prometheus_or_skip(files: &[(&str, &str)]) -> Option<Self> {
        for _ in 0..10 {
            let port = free_port();
            let directory = directory("prometheus", port);
            for (name, text) in [&[("port", port.to_string().as_str())], files].concat() {
                std::fs::write(directory.join(name), text).unwrap();
            }
            let arguments = [
                "--config.file=prometheus.yml".to_owned(),
                "--storage.tsdb.path=data".to_owned(),
                format!("--web.listen-address=127.0.0.1:{port}"),
            ];
            let Some(mut server) = Self::spawn(PROMETHEUS, directory.clone(), port, arguments.into()) else {
                let _ = std::fs::remove_dir_all(directory);
                skipped("tests that start Prometheus", "there is no `prometheus` on the PATH");
                return None;
            };
            // Another process may have bound the port in the meantime.
            if server.is_ready_or_exited() {
                return Some(server);
            }
        }
        panic!("prometheus did not start on any of 10 ports");
    }

    /// The member `data` of the answer of Prometheus' HTTP API, such as `rules`.
    ///
    /// # Panics
    ///
    /// When the answer is not a success.
    pub fn prometheus_data(&self, path: &str) -> Value {
        data(request(self.port(), "GET", &format!("/api/v1/{path}"), ""), path)
    }

    /// The series that a PromQL expression returns now.
    ///
    /// # Panics
    ///
    /// When the expression is invalid.
    pub fn prometheus_query(&self, expression: &str) -> Vec<Value> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = request(self.port(), "POST", "/api/v1/query", &format!("query={encoded}"));
        data(answer, expression).pointer("/result").and_then(Value::as_array).unwrap().clone()
    }
}

fn data(answer: Option<(u16, String)>, request: &str) -> Value {
    let (status, body) = answer.unwrap();
    assert_eq!(status, 200, "{request}: {body}");
    serde_json::from_str::<Value>(&body).unwrap().pointer_mut("/data").unwrap().take()
}

/// The status and the body of a response, or `None` if the server cannot be reached.
fn request(port: u16, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    // HTTP/1.0 has no chunks.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let status = response.get(9..12)?.parse().ok()?;
    Some((status, response.split_once("\r\n\r\n")?.1.to_owned()))
}

/// A command of `promtool`. If it is missing, reports that the tests are skipped.
pub fn promtool_or_skip(directory: &Path) -> Option<Command> {
    let mut command = Command::new("promtool");
    if command.arg("--version").output().is_err() {
        skipped("tests with promtool", "there is no `promtool` on the PATH");
        return None;
    }
    let mut command = Command::new("promtool");
    command.current_dir(directory);
    Some(command)
}
