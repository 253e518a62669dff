//! The program as a process.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use crate::fixture::Fixture;
use roomz_axum::testing::TestEvent;

fn program(fixture: &Fixture) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_https"));
    program
        .env("ROOMZ_WEBHOOK_SECRET", "the webhook secret")
        .env("CERTIFICATE", fixture.certificate())
        .env("KEY", fixture.key())
        .env("LISTEN", "127.0.0.1:0")
        .env_remove("RUST_LOG");
    program
}

/// Runs a program that cannot start. Returns its error message.
fn startup_error(mut program: Command) -> String {
    let output = program.output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

/// The running program. `Drop` kills it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)] // the test stops the program with a signal
#[tokio::test]
async fn prints_event_and_stops_on_signal() {
    let fixture = Fixture::new();
    let pair = fixture.write_new();
    let mut running = Running(program(&fixture).stdout(Stdio::piped()).spawn().unwrap());
    let mut output = BufReader::new(running.0.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on https://").unwrap().parse().unwrap();

    let (mut client, certificate) = fixture.client(address).await;
    assert!(certificate == pair);
    assert_eq!(client.deliver(&TestEvent::busy(), &fixture.secret).await, (200, None));

    let kill = Command::new("kill").arg("-TERM").arg(running.0.id().to_string()).status().unwrap();
    assert!(kill.success());
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(running.0.wait().unwrap().success());
    assert!(rest.lines().count() == 1 && rest.contains("Busy"), "{rest}");
}

#[test]
fn missing_variable_is_readable_error() {
    let fixture = Fixture::new();
    for variable in ["CERTIFICATE", "KEY"] {
        let mut program = program(&fixture);
        program.env_remove(variable);
        let error = startup_error(program);
        let start = format!("https: the environment variable {variable} is not set: set it to the PEM file");
        assert!(error.starts_with(&start) && error.lines().count() == 1, "{error}");
    }
}

#[cfg(unix)] // the text for a missing file is the operating system's
#[test]
fn unusable_files_are_readable_errors() {
    let fixture = Fixture::new();
    let (old, new) = (fixture.issue(), fixture.issue());
    let (certificate, key) = (fixture.certificate(), fixture.key());
    assert_eq!(
        startup_error(program(&fixture)),
        format!(
            "https: cannot read {certificate:?}: No such file or directory (os error 2); \
             set CERTIFICATE to a PEM file\n"
        )
    );
    for (in_certificate, in_key, error) in [
        (
            old.key.as_str(),
            old.key.as_str(),
            format!("{certificate:?} contains no certificate; set CERTIFICATE to the PEM file of the chain"),
        ),
        (
            &old.certificate[..200],
            &old.key,
            format!("{certificate:?} is not valid PEM; write the certificate and its chain again"),
        ),
        (
            &old.certificate,
            &old.certificate,
            format!("{key:?} contains no private key; set KEY to a PEM file that is not encrypted"),
        ),
        (
            &old.certificate,
            &new.key,
            format!("{key:?} is not the key of the first certificate in {certificate:?}; set both to a pair"),
        ),
    ] {
        fixture.write(in_certificate, in_key);
        assert_eq!(startup_error(program(&fixture)), format!("https: {error}\n"));
    }
}
