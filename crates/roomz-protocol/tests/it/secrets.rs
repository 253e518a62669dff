//! Secrets: which ones are rejected, and that none is printed.

use std::error::Error as _;
use std::fs;

use roomz_protocol::{Secret, SecretErrorKind, Secrets};

#[test]
fn rejects_unusable_secrets() {
    let too_long = "k".repeat(64 * 1024 + 1);
    for (secret, problem) in [
        ("", "is empty"),
        (" ", "is only white space"),
        ("\n", "is only white space"),
        ("\u{a0}\u{2003}", "is only white space"),
        ("k\0", "contains a NUL byte"),
        ("\0", "contains a NUL byte"),
        ("\0\0\0\0", "contains a NUL byte"),
        ("sec\0et", "contains a NUL byte"),
        ("k\0e\0y\0", "is UTF-16"),
        ("\0k\0e\0y\0\n", "is UTF-16"),
        ("key\n", "ends with a newline"),
        ("key\r\n", "ends with a newline"),
        ("key ", "begins or ends with white space"),
        ("\tkey", "begins or ends with white space"),
        ("key\u{a0}", "begins or ends with white space"),
        ("\u{feff}key", "contains an invisible character"),
        ("key\u{feff}", "contains an invisible character"),
        ("ke\u{200b}y", "contains an invisible character"),
        ("key\u{2060}", "contains an invisible character"),
        ("ke\u{ad}y", "contains an invisible character"),
        ("\u{202a}key\u{202c}", "contains an invisible character"),
        ("key\u{e0001}", "contains an invisible character"),
        ("\u{feff}", "contains an invisible character"),
        (&too_long, "is longer than 64 KiB"),
    ] {
        let error = Secret::new(secret).unwrap_err();
        assert_eq!(error.kind(), SecretErrorKind::Invalid);
        assert!(error.to_string().starts_with(&format!("the secret {problem}")), "{secret:.20?}: {error}");
    }
    for secret in ["k", "two words", "clé", "鍵🔑", "\u{301}", &too_long[1..]] {
        assert!(Secret::new(secret).is_ok(), "{secret:.20?}");
    }
    assert!(Secret::new([0xaa; 131]).is_ok(), "bytes need not be UTF-8");
    assert!(Secret::new(b"\xff\xfe\x01").is_ok(), "no UTF-16 has three bytes");
    assert!(Secret::new(b"\xaa ").unwrap_err().to_string().contains("ends with white space"));
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
    let subject = format!("the secret file {}", file.display());
    assert!(error.to_string().starts_with(&format!("{subject} ends with a newline")), "{error}");

    for (mark, to_bytes) in [
        ("\u{feff}", u16::to_le_bytes as fn(u16) -> [u8; 2]),
        ("\u{feff}", u16::to_be_bytes),
        ("", u16::to_le_bytes),
    ] {
        let text = format!("{mark}from a file\r\n");
        fs::write(&file, text.encode_utf16().flat_map(to_bytes).collect::<Vec<_>>()).unwrap();
        let error = Secret::from_file(&file).unwrap_err();
        assert!(
            error.to_string().ends_with("is UTF-16: save it as UTF-8 without a byte order mark"),
            "{error}"
        );
    }

    fs::write(&file, vec![b'k'; 1_000_000]).unwrap();
    assert!(Secret::from_file(&file).unwrap_err().to_string().contains("is longer than 64 KiB"));

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
    assert_eq!(output, "Secrets([Secret([redacted])]) Verifier([redacted]) Signature([redacted])");
}

/// With quotation marks, a name in front, or a separator behind. Base64 may have `=` at its end.
#[test]
fn notices_copied_syntax() {
    for (secret, expected) in [
        ("'secret", true),
        ("secret”", true),
        ("secret;", true),
        ("secret,", true),
        ("NAME_2=secret", true),
        ("export NAME=secret", true),
        ("name-2: secret", true),
        ("secret", false),
        ("two, words; 'and' more", false),
        ("=secret", false),
        ("two words=secret", false),
        ("c2VjcmV0cw==", false),
        ("NAME:secret", false),
    ] {
        let secrets = ["other", secret].map(|secret| Secret::new(secret).unwrap());
        assert_eq!(secrets[1].has_copied_syntax(), expected, "{secret}");
        assert_eq!(Secrets::new(secrets).unwrap().has_copied_syntax(), expected, "{secret}");
    }
}

#[test]
fn rejects_empty_list_of_secrets() {
    assert!(Secrets::new([]).is_err());
}
