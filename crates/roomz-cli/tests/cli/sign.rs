use crate::support::{Files, SECRET, command, finish, roomz, with_secret};

const BODY: &str = r#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4"}"#;

#[test]
fn prints_what_openssl_prints_and_nothing_else() {
    // printf %s '{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4"}' |
    //   openssl dgst -sha512 -hmac 'the webhook secret' -binary | base64 -w0
    let theirs = "MqJxeAfFZZo1hLDUMObBCt9SIb36S0Teleot5n1RBj6/p+nXJ4x4ZqeFpc1YT4IK6sq/fmbqGBbB6DhVNcZwzQ==\n";
    let files = Files::new();
    let (secret, body) = (files.with("secret", SECRET), files.with("body", BODY));
    let signed = roomz(&["sign", "--secret-file", &secret, &body]);
    assert_eq!(signed.succeeds().out, theirs);
    // From standard input, and with the secret from the environment.
    for dash in [&["sign"][..], &["sign", "-"]] {
        let signed = finish(command().env("ROOMZ_WEBHOOK_SECRET", SECRET).args(dash), BODY.as_bytes());
        assert_eq!(signed.succeeds().out, theirs);
    }
    assert_eq!(
        format!("{}\n", with_secret(&["sign", "--json", &body]).json()["signature"].as_str().unwrap()),
        theirs
    );
}

#[test]
fn signs_bytes_as_they_are() {
    let files = Files::new();
    let secret = roomz_axum::Secret::new(SECRET).unwrap();
    for body in [&b""[..], b"{}\n", b"\xff\x00\r\n", b"  "] {
        let signed = with_secret(&["sign", &files.with("body", body)]);
        assert_eq!(signed.succeeds().out, secret.sign(body).to_base64() + "\n");
    }
}

#[test]
fn a_flag_comes_before_the_environment() {
    let files = Files::new();
    let (other, body) = (files.with("secret", "another"), files.with("body", BODY));
    let expected = roomz_axum::Secret::new("another").unwrap().sign(BODY.as_bytes()).to_base64() + "\n";
    assert_eq!(with_secret(&["sign", "--secret-file", &other, &body]).succeeds().out, expected);
}

#[test]
fn a_secret_on_the_command_line_is_warned_about() {
    let files = Files::new();
    let body = files.with("body", BODY);
    for secret in ["canary", "-canary", "--canary"] {
        let ran = roomz(&["sign", "--secret", secret, &body]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.err.contains("visible in the process list") && ran.err.lines().count() == 1, "{ran:?}");
        assert!(!ran.err.contains("canary"));
        assert_eq!(ran.out.len(), 89);
    }
}
