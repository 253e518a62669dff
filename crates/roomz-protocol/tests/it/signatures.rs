//! Signatures: one valid encoding, and the body and secret that they match.

use proptest::prelude::*;
use roomz_protocol::{Secret, Secrets, Signature, SignatureError};

const BODY: &[u8] = br#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4"}"#;

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

#[test]
fn agrees_with_openssl() {
    // printf %s '{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4"}' |
    //   openssl dgst -sha512 -hmac 'the webhook secret' -binary | base64 -w0
    let expected = "MqJxeAfFZZo1hLDUMObBCt9SIb36S0Teleot5n1RBj6/p+nXJ4x4ZqeFpc1YT4IK6sq/fmbqGBbB6DhVNcZwzQ==";
    assert_eq!(secret("the webhook secret").sign(BODY).to_base64(), expected);
}

#[test]
fn rejects_other_lengths() {
    let text = secret("k").sign(BODY).to_base64();
    for length in 0..text.len() {
        assert!(
            matches!(
                Signature::from_base64(&text.as_bytes()[..length]),
                Err(SignatureError::Length { found, .. }) if found == length
            ),
            "{length}"
        );
    }
    for longer in [format!("{text}="), format!("{text}\n"), format!(" {text}"), text.repeat(2)] {
        assert!(matches!(Signature::from_base64(longer.as_bytes()), Err(SignatureError::Length { .. })));
    }
}

/// Rejects text of 88 characters in another encoding: non-zero trailing bits, another alphabet, other
/// padding, white space, hexadecimal, non-ASCII.
#[test]
fn rejects_other_encodings() {
    let text = secret("k").sign(BODY).to_base64();
    let last = 85; // The last character before the padding. Its lower four bits encode nothing.
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".chars() {
        let mut variant = text.clone();
        variant.replace_range(last..=last, &other.to_string());
        let accepted = Signature::from_base64(variant.as_bytes()).is_ok();
        assert_eq!(accepted, "AQgw".contains(other), "{other}: only AQgw have zero trailing bits");
    }
    let all_ones = "/".repeat(85) + "w==";
    assert!(Signature::from_base64(all_ones.as_bytes()).is_ok());
    let url_safe = "_".repeat(85) + "w==";
    let without_padding = "/".repeat(88); // 66 bytes
    let one_padding_character = "/".repeat(86) + "8="; // 65 bytes
    let leading_padding = "=".to_owned() + &"/".repeat(84) + "w==";
    let leading_space = " ".to_owned() + &"/".repeat(84) + "w==";
    let hex = "ab".repeat(44);
    for text in [url_safe, without_padding, one_padding_character, leading_padding, leading_space] {
        assert_eq!(text.len(), 88);
        assert_eq!(Signature::from_base64(text.as_bytes()).unwrap_err(), SignatureError::NotBase64, "{text}");
    }
    assert!(Signature::from_base64(hex.as_bytes()).is_err());
    assert!(Signature::from_base64("é".repeat(44).as_bytes()).is_err());
}

#[test]
fn returns_position_of_matching_secret() {
    let mut secrets = Secrets::new(["a", "b"].map(secret)).unwrap();
    secrets.extend([secret("c")]);
    assert_eq!(secrets.count(), 3);
    for (position, text) in ["a", "b", "c"].into_iter().enumerate() {
        assert_eq!(secrets.verify(BODY, &secret(text).sign(BODY)), Ok(position));
    }
    assert!(secrets.verify(BODY, &secret("d").sign(BODY)).is_err());
}

proptest! {
    #[test]
    fn rejects_flipped_bit_in_body(body in prop::collection::vec(any::<u8>(), 1..300), at: prop::sample::Index, bit in 0..8) {
        let secret = secret("the webhook secret");
        let signature = secret.sign(&body);
        let mut other = body.clone();
        other[at.index(body.len())] ^= 1u8 << bit;
        prop_assert!(Secrets::from(secret.clone()).verify(&body, &signature).is_ok());
        prop_assert!(Secrets::from(secret).verify(&other, &signature).is_err());
    }

    #[test]
    fn rejects_flipped_bit_in_signature(at in 0..88usize, bit in 0..8) {
        let secret = secret("the webhook secret");
        let mut text = secret.sign(BODY).to_base64().into_bytes();
        text[at] ^= 1u8 << bit;
        let verified = Signature::from_base64(&text).is_ok_and(|s| Secrets::from(secret).verify(BODY, &s).is_ok());
        prop_assert!(!verified);
    }

    #[test]
    fn rejects_other_secret(a in "[!-~]{1,200}", b in "[!-~]{1,200}") {
        prop_assume!(a != b);
        let signature = secret(&a).sign(BODY);
        prop_assert!(Secrets::from(secret(&b)).verify(BODY, &signature).is_err());
    }

    #[test]
    fn chunks_verify_like_whole_body(body in prop::collection::vec(any::<u8>(), 0..400), cut: prop::sample::Index) {
        let secret = secret("the webhook secret");
        let (head, tail) = body.split_at(cut.index(body.len() + 1));
        let mut verifier = Secrets::new([secret.clone(), secret.clone()]).unwrap().verifier();
        verifier.update(head);
        verifier.update(tail);
        prop_assert_eq!(verifier.verify(&secret.sign(&body)), Ok(0));
        verifier.update(b"more");
        prop_assert!(verifier.verify(&secret.sign(&body)).is_err());
    }
}
