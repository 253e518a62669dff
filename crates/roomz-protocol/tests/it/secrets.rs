//! Secrets: which ones are rejected, and that none is printed.

use std::error::Error as _;
use std::fs;

use roomz_protocol::{Secret, SecretErrorKind, Secrets};

#[test]
fn rejects_unusable_secrets() {
    let too_long = "k".repeat(64 * 1024 + 1);
    for (secret, kind) in [
        ("", SecretErrorKind::Empty),
        (" ", SecretErrorKind::Blank),
        ("\n", SecretErrorKind::Blank),
        ("\u{a0}\u{2003}", SecretErrorKind::Blank),
        ("k\0", SecretErrorKind::Nul),
        ("\0", SecretErrorKind::Nul),
        ("key\n", SecretErrorKind::TrailingNewline),
        ("key\r\n", SecretErrorKind::TrailingNewline),
        ("key ", SecretErrorKind::SurroundingWhitespace),
        ("\tkey", SecretErrorKind::SurroundingWhitespace),
        ("key\u{a0}", SecretErrorKind::SurroundingWhitespace),
        (&too_long, SecretErrorKind::TooLong),
    ] {
        assert_eq!(Secret::new(secret).unwrap_err().kind(), kind, "{secret:.20?}");
    }
    for secret in ["k", "two words", "clé", &too_long[1..]] {
        assert!(Secret::new(secret).is_ok(), "{secret:.20?}");
    }
    assert!(Secret::new([0xaa; 131]).is_ok(), "bytes need not be UTF-8");
    assert_eq!(Secret::new(b"\xaa ").unwrap_err().kind(), SecretErrorKind::SurroundingWhitespace);
}

/// Accepts a file with only the secret. Rejects a final newline, a large file and a directory.
#[test]
fn reads_secret_file() {
    let directory = std::env::temp_dir().join(format!("roomz-secret-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("secret");

    fs::write(&file, "from a file").unwrap();
    let signature = Secret::from_file(&file).unwrap().sign(b"{}");
    assert!(Secrets::from(Secret::new("from a file").unwrap()).verify(b"{}", &signature).is_ok());

    fs::write(&file, "from a file\n").unwrap();
    let error = Secret::from_file(&file).unwrap_err();
    assert_eq!(error.kind(), SecretErrorKind::TrailingNewline);
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");

    fs::write(&file, vec![b'k'; 1_000_000]).unwrap();
    assert_eq!(Secret::from_file(&file).unwrap_err().kind(), SecretErrorKind::TooLong);

    let error = Secret::from_file(&directory).unwrap_err();
    assert_eq!(error.kind(), SecretErrorKind::Unreadable);
    assert!(error.source().is_some(), "the I/O error is the source");
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn output_never_contains_secret() {
    let error = Secret::new("canary-3f1 ").unwrap_err();
    let output = format!("{error} {error:?}");
    assert!(output.contains("white space") && !output.contains("canary"), "{output}");
    let secrets = Secrets::from(Secret::new("canary-3f1").unwrap());
    let output =
        format!("{secrets:?} {:?} {:?}", secrets.verifier(), Secret::new("canary-3f1").unwrap().sign(b""));
    assert_eq!(
        output,
        "Secrets { first: Secret([redacted]), others: [] } Verifier([redacted]) Signature([redacted])"
    );
}

#[test]
fn rejects_empty_list_of_secrets() {
    assert!(Secrets::new([]).is_err());
}
