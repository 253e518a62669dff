//! Errors are readable when `main` returns them, which prints their `Debug`.

use std::error::Error;

use roomz_protocol::{Event, EventId, Secret, Secrets, Signature};

/// Checks that `Debug` prints the message without quotes or field names.
fn assert_debug_is_message(error: &dyn Error, message: &str) {
    assert_eq!(error.to_string(), message);
    assert_eq!(format!("{error:?}"), message);
}

#[test]
fn debug_prints_message() {
    assert_debug_is_message(
        &Secret::from_env("NO_SUCH_VARIABLE").unwrap_err(),
        "the environment variable NO_SUCH_VARIABLE is not set: set it to the webhook secret from ROOMZ",
    );
    assert_debug_is_message(
        &Secrets::new([]).unwrap_err(),
        "the list of secrets is empty: give at least one webhook secret from ROOMZ",
    );
    assert_debug_is_message(
        &Signature::from_base64(b"c2hvcnQ=").unwrap_err(),
        "the signature has 8 characters instead of the 88 of an HMAC-SHA512 in base64",
    );
    let [secret, other] = ["a", "b"].map(|secret| Secret::new(secret).unwrap());
    assert_debug_is_message(
        &Secrets::from(secret).verify(b"{}", &other.sign(b"{}")).unwrap_err(),
        "the signature does not match the body under any of the secrets",
    );
    assert_debug_is_message(&Event::parse(b"{}").unwrap_err(), "the field `id` is missing");
    assert_debug_is_message(
        &"7".parse::<EventId>().unwrap_err(),
        "not a UUID: expected 32 hexadecimal digits, such as e6ae112e-2af3-4d72-894b-03435d7afde4",
    );
}

#[test]
fn debug_prints_source() {
    let error = Secret::from_file("/no/such/file").unwrap_err();
    let source = error.source().unwrap();
    assert_eq!(
        format!("{error:?}"),
        format!(
            "the secret file /no/such/file cannot be read: \
             check that it exists and that this user may read it: {source}"
        )
    );
    assert!(!error.to_string().contains(&source.to_string()), "Display does not repeat the source");
}
