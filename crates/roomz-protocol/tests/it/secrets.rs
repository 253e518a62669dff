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
        ("\0\0\0\0", SecretErrorKind::Nul),
        ("secr\0et", SecretErrorKind::Nul),
        ("k\0e\0y\0", SecretErrorKind::Utf16),
        ("\0k\0e\0y\0\n", SecretErrorKind::Utf16),
        ("key\n", SecretErrorKind::TrailingNewline),
        ("key\r\n", SecretErrorKind::TrailingNewline),
        ("key ", SecretErrorKind::SurroundingWhitespace),
        ("\tkey", SecretErrorKind::SurroundingWhitespace),
        ("key\u{a0}", SecretErrorKind::SurroundingWhitespace),
        ("\u{feff}key", SecretErrorKind::Invisible),
        ("key\u{feff}", SecretErrorKind::Invisible),
        ("ke\u{200b}y", SecretErrorKind::Invisible),
        ("key\u{2060}", SecretErrorKind::Invisible),
        ("ke\u{ad}y", SecretErrorKind::Invisible),
        ("\u{202a}key\u{202c}", SecretErrorKind::Invisible),
        ("key\u{e0001}", SecretErrorKind::Invisible),
        ("\u{feff}", SecretErrorKind::Invisible),
        (&too_long, SecretErrorKind::TooLong),
    ] {
        assert_eq!(Secret::new(secret).unwrap_err().kind(), kind, "{secret:.20?}");
    }
    for secret in ["k", "two words", "clé", "鍵🔑", "\u{301}", &too_long[1..]] {
        assert!(Secret::new(secret).is_ok(), "{secret:.20?}");
    }
    assert!(Secret::new([0xaa; 131]).is_ok(), "bytes need not be UTF-8");
    assert!(Secret::new(b"\xff\xfe\x01").is_ok(), "no UTF-16 has three bytes");
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

    for (mark, to_bytes) in [
        ("\u{feff}", u16::to_le_bytes as fn(u16) -> [u8; 2]),
        ("\u{feff}", u16::to_be_bytes),
        ("", u16::to_le_bytes),
    ] {
        let text = format!("{mark}from a file\r\n");
        fs::write(&file, text.encode_utf16().flat_map(to_bytes).collect::<Vec<_>>()).unwrap();
        let error = Secret::from_file(&file).unwrap_err();
        assert_eq!(error.kind(), SecretErrorKind::Utf16);
        assert!(
            error.to_string().ends_with("is UTF-16: save it as UTF-8 without a byte order mark"),
            "{error}"
        );
    }

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
