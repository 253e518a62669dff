//! No output contains a secret, whatever `RUST_LOG` is set to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use roomz_axum::Secret;

use crate::support::{
    ListenProcess, RunOutput, SECRET, TestDir, TestReceiver, command, path_text, problem, run, run_command,
    run_with_secret,
};

const CANARY: &str = "canary-secret-5b1c";

#[test]
fn no_command_prints_the_secret() {
    let directory = TestDir::new();
    let secret = directory.write("secret", CANARY);
    let (body, save) = (directory.write("body", "{\"a\":1}"), path_text(&directory.path("saved")));
    let options = ["--secret-file", secret.as_str()];
    let good = TestReceiver::responding(|_, _| StatusCode::OK);
    let bad = TestReceiver::responding(|_, _| problem(503, "store-unavailable"));
    let listener = ListenProcess::start_command(&mut command(), &[&options[..], &["--save", &save]].concat());
    let commands: [&[&str]; 12] = [
        &["send", &good.url, "--count", "5", "--forged", "1", "--duplicates", "1"],
        &["send", &bad.url, "--json"],
        &["send", &bad.url, "--retry=1"],
        &["send", &listener.url, "--count", "5"],
        &["send", "http://127.0.0.1:1/"],
        &["send", "nonsense"],
        &["send", &good.url, "--no-such-flag"],
        &["verify", "--signature", "AAAA", &body],
        &["listen", "--listen", "nonsense"],
        &["replay", &save, &good.url, "--re-sign"],
        &["replay", "/no/such/file", &good.url, "--re-sign"],
        &["sign", "/no/such/file"],
    ];
    let mut outputs: Vec<RunOutput> = Vec::new();
    for arguments in commands {
        outputs.push(run(&[arguments, &options].concat()));
        outputs.push(run_command(command().env("ROOMZ_WEBHOOK_SECRET", CANARY).args(arguments), b""));
        // There is no such option: other users could see the secret in the process list.
        outputs.push(run(&[arguments, &["--secret", CANARY]].concat()));
        outputs.push(run(&[arguments, &[&format!("--secret={CANARY}")]].concat()));
    }
    outputs.push(run(&[&["sign", body.as_str()][..], &options].concat()));
    outputs.push(run(&["sign", &format!("--secert={CANARY}")]));
    outputs.push(listener.stop("-TERM"));
    for output in &outputs {
        assert!(!format!("{}{}", output.stdout, output.stderr).contains(CANARY), "{output:?}");
    }
    assert!(!std::fs::read_to_string(&save).unwrap().contains(CANARY));
}

#[test]
fn never_prints_the_correct_signature() {
    let receiver = TestReceiver::with_layer();
    let output = run_with_secret(&["send", &receiver.url, "--count", "3", "--forged", "1"]);
    let secret = Secret::new(SECRET).unwrap();
    for request in receiver.requests() {
        let correct = secret.sign(&request.body).to_base64();
        let hex: String =
            STANDARD.decode(&correct).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(
            !output.stdout.contains(&correct)
                && !output.stderr.contains(&correct)
                && !output.stdout.contains(&hex)
        );
    }
}
