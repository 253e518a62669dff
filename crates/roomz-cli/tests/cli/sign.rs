use crate::support::{SECRET, TestDir, command_with_secret, run, run_command, run_with_secret};

const BODY: &str = r#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4"}"#;

#[test]
fn prints_same_signature_as_openssl() {
    // printf %s '{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4"}' |
    //   openssl dgst -sha512 -hmac 'the webhook secret' -binary | base64 -w0
    let expected =
        "MqJxeAfFZZo1hLDUMObBCt9SIb36S0Teleot5n1RBj6/p+nXJ4x4ZqeFpc1YT4IK6sq/fmbqGBbB6DhVNcZwzQ==\n";
    let directory = TestDir::new();
    let (secret, body) = (directory.write("secret", SECRET), directory.write("body", BODY));
    let signed = run(&["sign", "--secret-file", &secret, &body]);
    assert_eq!(signed.assert_succeeds().stdout, expected);
    // From standard input, and with the secret from the environment.
    for arguments in [&["sign"][..], &["sign", "-"]] {
        let signed = run_command(command_with_secret().args(arguments), BODY.as_bytes());
        assert_eq!(signed.assert_succeeds().stdout, expected);
    }
}

#[test]
fn signs_raw_bytes() {
    let directory = TestDir::new();
    let secret = roomz_axum::Secret::new(SECRET).unwrap();
    for body in [&b""[..], b"{}\n", b"\xff\x00\r\n", b"  "] {
        let signed = run_with_secret(&["sign", &directory.write("body", body)]);
        assert_eq!(signed.assert_succeeds().stdout, secret.sign(body).to_base64() + "\n");
    }
}

#[test]
fn option_overrides_environment() {
    let directory = TestDir::new();
    let (other, body) = (directory.write("secret", "another"), directory.write("body", BODY));
    let expected = roomz_axum::Secret::new("another").unwrap().sign(BODY.as_bytes()).to_base64() + "\n";
    assert_eq!(run_with_secret(&["sign", "--secret-file", &other, &body]).assert_succeeds().stdout, expected);
}
