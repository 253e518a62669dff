//! Nothing secret is in any output, whatever `RUST_LOG` says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use roomz_axum::Secret;

use crate::support::{Files, Listening, Ran, Receiver, command, finish, problem, roomz, text};

const CANARY: &str = "canary-secret-5b1c";

#[test]
fn a_canary_secret_is_in_no_output_of_any_command() {
    let files = Files::new();
    let secret = files.with("secret", CANARY);
    let (body, save) = (files.with("body", "{\"a\":1}"), text(&files.path("saved")));
    let with = ["--secret-file", secret.as_str()];
    let good = Receiver::answering(|_, _| StatusCode::OK);
    let bad = Receiver::answering(|_, _| problem(503, "store-unavailable"));
    let listening = Listening::run(&mut command(), &[&with[..], &["--save", &save]].concat());
    let commands: [&[&str]; 13] = [
        &["send", &good.url, "--count", "5", "--forged", "1", "--duplicates", "1"],
        &["send", &bad.url, "--json"],
        &["send", &bad.url, "--retry=1", "--back-off", "0"],
        &["send", &listening.url, "--count", "5"],
        &["send", "http://127.0.0.1:1/"],
        &["send", "nonsense"],
        &["send", &good.url, "--no-such-flag"],
        &["verify", "--signature", "AAAA", &body],
        &["verify", "--signature", "AAAA", "--json", &body],
        &["listen", "--listen", "nonsense"],
        &["replay", &save, &good.url, "--resign"],
        &["replay", "/no/such/file", &good.url, "--resign"],
        &["sign", "/no/such/file"],
    ];
    let mut shown: Vec<Ran> = Vec::new();
    for arguments in commands {
        shown.push(roomz(&[arguments, &with].concat()));
        shown.push(finish(command().env("ROOMZ_WEBHOOK_SECRET", CANARY).args(arguments), b""));
        shown.push(roomz(&[arguments, &["--secret", CANARY]].concat()));
        shown.push(roomz(&[arguments, &[&format!("--secret={CANARY}")]].concat()));
        shown.push(roomz(&[arguments, &["--secret", CANARY], &with].concat()));
    }
    shown.push(roomz(&[&["sign", body.as_str()][..], &with].concat()));
    shown.push(roomz(&["sign", &format!("--secert={CANARY}")]));
    shown.push(roomz(&["sign", "--secret", &format!("{CANARY} ")]));
    shown.push(listening.stop("-TERM"));
    for ran in &shown {
        assert!(!format!("{}{}", ran.out, ran.err).contains(CANARY), "{ran:?}");
    }
    assert!(!std::fs::read_to_string(&save).unwrap().contains(CANARY));
}

#[test]
fn the_right_signature_of_a_forged_delivery_is_in_no_output() {
    let receiver = Receiver::real();
    let ran = crate::support::with_secret(&["send", &receiver.url, "--count", "3", "--forged", "1"]);
    let secret = Secret::new(crate::support::SECRET).unwrap();
    for seen in receiver.seen() {
        let right = secret.sign(&seen.body).to_base64();
        let hex: String = STANDARD.decode(&right).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!ran.out.contains(&right) && !ran.err.contains(&right) && !ran.out.contains(&hex));
    }
}
