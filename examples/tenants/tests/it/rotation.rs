//! Secrets are rotated while deliveries arrive. None is rejected, and the program is not restarted.

#![cfg(unix)] // a reload is a SIGHUP

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use roomz_axum::Secret;
use roomz_axum::testing::TestEvent;

const ROTATIONS: usize = 20;

struct Program {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(secrets: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tenants"))
            .env("SECRETS", secrets)
            .env("LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, output }
    }

    /// Reads the output up to a line that begins with this text, and returns the rest of that line.
    fn read_until(&mut self, start: &str) -> String {
        let rest = self.output.find_map(|line| line.unwrap().strip_prefix(start).map(str::to_owned));
        rest.expect("the program runs")
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a new event and returns the status line.
fn deliver(address: &str, customer: &str, secret: &Secret) -> String {
    let request = TestEvent::busy().request::<Vec<u8>>("/", secret);
    let (signature, body) = (request.headers()["roomz-signature"].to_str().unwrap(), request.body());
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /webhooks/{customer} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nroomz-signature: {signature}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response.lines().next().unwrap_or_default().to_owned()
}

fn secret(customer: &str, generation: usize) -> Secret {
    Secret::new(text(customer, generation)).unwrap()
}

fn text(customer: &str, generation: usize) -> String {
    format!("secret {generation} of {customer}")
}

#[test]
fn rotation_under_load_rejects_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file =
        |customer: &str, generation: usize| directory.path().join(customer).join(generation.to_string());
    for customer in ["acme", "globex"] {
        std::fs::create_dir(directory.path().join(customer)).unwrap();
        std::fs::write(file(customer, 0), text(customer, 0)).unwrap();
    }
    let mut program = Program::start(directory.path());
    let address = program.read_until("listening on http://");

    // The secret with which ROOMZ signs the events of acme. Changing it waits for the deliveries in flight.
    let generation = RwLock::new(0);
    let (is_finished, delivered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_finished.load(Ordering::SeqCst) {
                    let generation = generation.read().unwrap();
                    assert_eq!(deliver(&address, "acme", &secret("acme", *generation)), "HTTP/1.1 200 OK");
                    assert_eq!(deliver(&address, "globex", &secret("globex", 0)), "HTTP/1.1 200 OK");
                    delivered.fetch_add(2, Ordering::SeqCst);
                }
            });
        }
        for next in 1..=ROTATIONS {
            std::fs::write(file("acme", next), text("acme", next)).unwrap();
            program.signal("-HUP");
            assert_eq!(program.read_until("loaded "), "acme (2 secrets), globex (1 secret)");
            *generation.write().unwrap() = next;
            std::fs::remove_file(file("acme", next - 1)).unwrap();
            program.signal("-HUP");
            assert_eq!(program.read_until("loaded "), "acme (1 secret), globex (1 secret)");
        }
        is_finished.store(true, Ordering::SeqCst);
    });
    println!("{} deliveries during {ROTATIONS} rotations, none rejected", delivered.load(Ordering::SeqCst));
    assert!(delivered.load(Ordering::SeqCst) > ROTATIONS, "deliveries arrived between the rotations");
    assert_eq!(deliver(&address, "acme", &secret("acme", 0)), "HTTP/1.1 401 Unauthorized", "the old secret");

    program.signal("-TERM");
    assert!(program.process.wait().unwrap().success());
}
