use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};

use crate::support::{RunOutput, TestDir, run};

const SECRET: &str = "c2VjcmV0IGtleSBmb3IgdGVzdHM";
const BODY: &str = r#"{"id":"e6ae112e","url":"a/b","n":1.5,"data":{"b":[],"a":"é"}}"#;

fn sha512(key: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut mac = Hmac::<Sha512>::new_from_slice(key.as_ref()).unwrap();
    mac.update(body.as_ref());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn verify_with(secret: &str, body: impl AsRef<[u8]>, signature: &str) -> RunOutput {
    let directory = TestDir::new();
    let (key, file) = (directory.write("secret", secret), directory.write("body", &body));
    let output = run(&["verify", "--secret-file", &key, "--signature", signature, &file]);
    // No output contains the correct signature or the secret.
    let correct = sha512(secret, &body);
    for canary in [STANDARD.encode(&correct), hex(&correct), secret.to_owned()] {
        assert!(!output.stdout.contains(&canary) && !output.stderr.contains(&canary), "{output:?}");
    }
    output
}

fn verify(body: impl AsRef<[u8]>, signature: &str) -> RunOutput {
    verify_with(SECRET, body, signature)
}

#[test]
fn correct_signature_exits_0() {
    for body in [BODY.as_bytes(), b"", b"\xff\n"] {
        let output = verify(body, &STANDARD.encode(sha512(SECRET, body)));
        assert_eq!(output.assert_succeeds().stdout, "the signature matches the body\n");
    }
}

#[test]
fn wrong_signature_exits_1() {
    verify(BODY, &STANDARD.encode(sha512("another", BODY)))
        .assert_fails(1, &["does not match the body", "compare the secret"]);
    verify("{", &STANDARD.encode([0; 64])).assert_fails(1, &["does not match the body"]);
}

#[test]
#[cfg(unix)]
fn secret_of_pipe_is_verified_without_explanation() {
    for (key, code) in [(SECRET, 0), ("", 1), ("another", 1)] {
        let signature = STANDARD.encode(sha512(key, ""));
        let script = format!(
            "{} verify --secret-file <(printf %s {SECRET}) --signature {signature} /dev/null",
            env!("CARGO_BIN_EXE_roomz")
        );
        let output =
            crate::support::run_command(std::process::Command::new("bash").args(["-c", &script]), b"");
        assert_eq!(output.code, code, "{output:?}");
        assert_eq!(output.stderr.contains("name a regular file with --secret-file"), code == 1, "{output:?}");
    }
}

#[test]
fn flipped_bit_exits_1() {
    let correct = sha512(SECRET, BODY);
    for at in [0, 31, 63] {
        let mut wrong = correct.clone();
        wrong[at] ^= 1;
        verify(BODY, &STANDARD.encode(&wrong)).assert_fails(1, &["does not match the body"]);
    }
}

#[test]
fn reports_wrong_length() {
    let correct = STANDARD.encode(sha512(SECRET, BODY));
    verify(BODY, &correct[..40]).assert_fails(1, &["30 bytes", "40 characters instead of 88"]);
    verify(BODY, "").assert_fails(1, &["has 0 characters instead of the 88"]);
    verify(BODY, "_short_").assert_fails(1, &["has 7 characters instead of the 88"]);
    verify(BODY, "no base64!").assert_fails(1, &["has 10 characters instead of the 88"]);
}

#[test]
fn reports_wrong_encoding() {
    let correct = sha512(SECRET, BODY);
    let encoding = "only its encoding is wrong";
    verify(BODY, &hex(&correct)).assert_fails(1, &["hexadecimal", encoding]);
    verify(BODY, &hex(&correct).to_uppercase()).assert_fails(1, &["hexadecimal", encoding]);
    verify(BODY, &STANDARD_NO_PAD.encode(&correct)).assert_fails(1, &["has no padding", encoding]);
    verify(BODY, &STANDARD.encode(hex(&correct))).assert_fails(1, &["base64 of hexadecimal", encoding]);
    verify(BODY, &format!("sha512={}", hex(&correct))).assert_fails(1, &["hexadecimal", encoding]);
    let base64 = STANDARD.encode(&correct);
    for around in [
        format!(" {base64}"),
        format!("{base64}\n"),
        format!("\"{base64}\""),
        format!("Roomz-Signature: {base64}"),
    ] {
        verify(BODY, &around).assert_fails(1, &["extra characters around it", encoding]);
    }
    // Hexadecimal of a wrong HMAC is reported as two problems.
    verify(BODY, &hex(&sha512("another", BODY))).assert_fails(1, &["hexadecimal", "does not match the body"]);
}

#[test]
fn reports_url_safe_base64() {
    // A body whose signature contains a character that differs between the alphabets.
    let bodies = (0..).map(|number| format!("{{\"n\":{number}}}"));
    let body =
        bodies.into_iter().find(|body| URL_SAFE.encode(sha512(SECRET, body)).starts_with('-')).unwrap();
    let correct = sha512(SECRET, &body);
    verify(&body, &URL_SAFE.encode(&correct))
        .assert_fails(1, &["URL-safe base64 (`-` and `_`)", "only its encoding is wrong"]);
    verify(&body, &URL_SAFE_NO_PAD.encode(&correct))
        .assert_fails(1, &["URL-safe base64 (`-` and `_`, unpadded)", "only its encoding is wrong"]);
}

#[test]
fn reports_wrong_hash() {
    let mut sha256 = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    sha256.update(BODY.as_bytes());
    let sha256 = sha256.finalize().into_bytes();
    verify(BODY, &STANDARD.encode(sha256)).assert_fails(1, &["32 bytes", "computed with SHA-256"]);
    verify(BODY, &format!("sha256={}", hex(&sha256))).assert_fails(1, &["computed with SHA-256"]);
    for length in [20, 32, 48] {
        verify(BODY, &STANDARD.encode(vec![7; length]))
            .assert_fails(1, &[&format!("has {length} bytes instead of the 64 of an HMAC-SHA512")]);
    }
    verify(BODY, &STANDARD.encode(Sha512::digest(BODY))).assert_fails(1, &["not an HMAC"]);
    verify(BODY, &STANDARD.encode(sha512(BODY, SECRET))).assert_fails(1, &["swapped"]);
}

#[test]
fn reports_white_space_around_secret() {
    for (front, behind) in [("", "\n"), ("", "\r\n"), ("", " "), ("", "\t"), (" ", ""), ("\t", "")] {
        let signature = STANDARD.encode(sha512(format!("{front}{SECRET}{behind}"), BODY));
        let used = format!("the signer's secret is {:?}, where", format!("{front}…{behind}"));
        verify(BODY, &signature).assert_fails(1, &[&used]);
    }
}

/// What a shell script, an `.env` file, a JSON file or an editor puts around a secret, in front and behind.
const AROUND_SECRET: [(&str, &str); 22] = [
    ("\"", "\""),
    ("'", "'"),
    ("`", "`"),
    ("\"", ""),
    ("", "'"),
    ("“", "”"),
    ("„", "“"),
    ("‘", "’"),
    ("«", "»"),
    ("", "”"),
    ("ROOMZ_WEBHOOK_SECRET=", ""),
    ("WEBHOOK_SECRET=", ""),
    ("export ROOMZ_WEBHOOK_SECRET=", ""),
    ("secret: ", ""),
    ("", ";"),
    ("", ","),
    ("\"", "\";"),
    ("ROOMZ_WEBHOOK_SECRET=\"", "\""),
    ("ROOMZ_WEBHOOK_SECRET='", "';"),
    ("", "\"\r\n"),
    ("\u{feff}", ""),
    ("\u{feff}", "\n"),
];

#[test]
fn reports_syntax_around_secret() {
    for (front, behind) in AROUND_SECRET {
        let wrapped = format!("{front}{SECRET}{behind}");
        let signature = STANDARD.encode(sha512(&wrapped, BODY));
        let used =
            format!("the signer's secret is {:?}, where … stands for this one", format!("{front}…{behind}"));
        verify(BODY, &signature).assert_fails(1, &[&used, "correct it at the signer"]);
        if wrapped.ends_with('\n') || wrapped.starts_with('\u{feff}') {
            continue; // Not a secret.
        }
        let output = verify_with(&wrapped, BODY, &STANDARD.encode(sha512(SECRET, BODY)));
        assert_eq!(output.code, 1);
        let extra = format!("lacks the first {} and the last {} bytes of this", front.len(), behind.len());
        assert!(output.stderr.contains(&extra), "{extra}: {output:?}");
    }
}

/// A secret may consist of any characters, so it is used as it is.
#[test]
fn warns_about_syntax_around_secret() {
    for (front, behind) in AROUND_SECRET {
        let directory = TestDir::new();
        let wrapped = format!("{front}{SECRET}{behind}");
        if wrapped.ends_with('\n') || wrapped.starts_with('\u{feff}') {
            continue;
        }
        let (key, file) = (directory.write("secret", &wrapped), directory.write("body", BODY));
        let output = run(&["sign", "--secret-file", &key, &file]);
        assert_eq!(output.stdout.trim(), STANDARD.encode(sha512(&wrapped, BODY)));
        assert!(output.stderr.starts_with("roomz: the secret looks copied with"), "{output:?}");
        assert!(!output.stderr.contains(SECRET) && output.stderr.lines().count() == 1, "{output:?}");
    }
    for secret in [SECRET, "c2VjcmV0IGtleSBmb3I=", "c2VjcmV0IGtleSBmb3==", "p;a\"s's"] {
        let directory = TestDir::new();
        let (key, file) = (directory.write("secret", secret), directory.write("body", BODY));
        run(&["sign", "--secret-file", &key, &file]).assert_succeeds();
    }
}

#[test]
fn reports_invisible_characters_of_secret() {
    for invisible in ["\u{200b}", "\u{2060}", "\u{ad}", "\u{200e}"] {
        for secret in [format!("{SECRET}{invisible}"), format!("{invisible}{SECRET}")] {
            let signature = STANDARD.encode(sha512(secret, BODY));
            verify(BODY, &signature).assert_fails(1, &["the signer's secret is ", "\\u{"]);
        }
    }
}

/// Each pair is the same JSON, printed by two serializers.
const REWRITES: [(&str, &str, &str); 15] = [
    (r#"{"n":"Zürich"}"#, r#"{"n":"Z\u00fcrich"}"#, r"`\u00fc` for `ü`"),
    (r#"{"n":"Zürich"}"#, r#"{"n":"Z\u00FCrich"}"#, r"`\u00FC` for `ü`"),
    (r#"{"t":"09:13+0000"}"#, r#"{"t":"09:13\u002B0000"}"#, r"`\u002B` for `+`"),
    (r#"{"t":"09:13+0000"}"#, r#"{"t": "09:13\u002b0000"}"#, r"`\u002b` for `+`"),
    (r#"{"n":"<a>&'b'"}"#, r#"{"n":"\u003ca\u003e\u0026'b'"}"#, r"`\u0026` for `&`"),
    (r#"{"n":"<a>&'b'"}"#, r#"{"n":"\u003ca\u003e\u0026\u0027b\u0027"}"#, r"`\u0026` for `&`"),
    (r#"{"n":"<a>&'b'"}"#, r#"{"n":"\u003Ca\u003E\u0026\u0027b\u0027"}"#, r"`\u003C` for `<`"),
    (r#"{"n":"a=b <"}"#, r#"{"n":"a\u003db \u003c"}"#, r"`\u003d` for `=`"),
    (r#"{"n":"+`é"}"#, r#"{"n":"\u002B\u0060\u00E9"}"#, r"`\u0060` for "),
    (r#"{"n":"😀"}"#, r#"{"n":"\ud83d\ude00"}"#, r"`\ud83d`"),
    (r#"{"n":"😀"}"#, r#"{"n":"\uD83D\uDE00"}"#, r"`\uD83D`"),
    (r#"{"u":"a/ü"}"#, r#"{"u":"a\/\u00fc"}"#, r"`\/` for `/`"),
    (r#"{"u": "a/b", "n": "ü"}"#, r#"{"u":"a/b","n":"\u00fc"}"#, r"`\u00fc` for `ü`"),
    (r#"{"u":"a/b","n":"ü"}"#, "{\n  \"u\": \"a/b\",\n  \"n\": \"\\u00FC\"\n}\n", r"`\u00FC` for `ü`"),
    (r#"{"n":"Z\u00fcrich"}"#, r#"{"n":"Z\u00FCrich"}"#, r"`\u00FC` for `ü`"),
];

#[test]
fn reports_changed_escapes() {
    for (one, other, escape) in REWRITES {
        for (signed, given, time) in [(one, other, "here"), (other, one, "when it was signed")] {
            if given.ends_with('\n') {
                continue; // Removing a newline and printing again are two changes.
            }
            verify(given, &STANDARD.encode(sha512(SECRET, signed)))
                .assert_fails(1, &["body-reformatted: ", escape, time, "before any JSON parser"]);
        }
    }
}

#[test]
fn reports_changed_character_set() {
    let body = r#"{"n":"Zürich"}"#;
    let latin_1: Vec<u8> = body.chars().map(|c| c as u8).collect();
    let both_ways: [(&[u8], &str); 3] = [
        (&latin_1, "Latin-1"),
        (r#"{"n":"ZÃ¼rich"}"#.as_bytes(), "Latin-1"),
        ("{\"n\":\"Zu\u{308}rich\"}".as_bytes(), "Unicode normalization"),
    ];
    for (other, problem) in both_ways {
        for (signed, given) in [(body.as_bytes(), other), (other, body.as_bytes())] {
            verify(given, &STANDARD.encode(sha512(SECRET, signed)))
                .assert_fails(1, &["body-charset: ", problem]);
        }
    }
    let (body, windows) = ("{\"n\":\"5 € für Übung\"}", b"{\"n\":\"5 \x80 f\xfcr \xdcbung\"}");
    for other in [&windows[..], "{\"n\":\"5 â‚¬ fÃ¼r Ãœbung\"}".as_bytes()] {
        for (signed, given) in [(body.as_bytes(), other), (other, body.as_bytes())] {
            verify(given, &STANDARD.encode(sha512(SECRET, signed)))
                .assert_fails(1, &["body-charset: ", "Windows-1252"]);
        }
    }
    for mark in ["?", "??", "\u{fffd}"] {
        verify(body.replace('ü', mark), &STANDARD.encode(sha512(SECRET, body)))
            .assert_fails(1, &["body-charset: ", "replaced by"]);
    }
}

#[test]
fn reports_white_space_around_body() {
    let signed = STANDARD.encode(sha512(SECRET, BODY));
    verify(format!("{BODY}\n"), &signed).assert_fails(1, &["white space around it that was not signed"]);
    verify(format!(" {BODY}\r\n"), &signed).assert_fails(1, &["white space around it that was not signed"]);
    verify(format!("\u{feff}{BODY}"), &signed)
        .assert_fails(1, &["begins with a byte order mark that was not signed"]);
    verify(BODY, &STANDARD.encode(sha512(SECRET, format!("\u{feff}{BODY}"))))
        .assert_fails(1, &["a byte order mark was signed but is missing here"]);
    for end in ["\n", "\r\n"] {
        let signed = STANDARD.encode(sha512(SECRET, format!("{BODY}{end}")));
        verify(BODY, &signed).assert_fails(1, &["a newline at the end of the body was signed"]);
    }
}

#[test]
fn reports_reformatted_body() {
    let pretty = "{\n  \"id\": \"e6ae112e\",\n  \"url\": \"a/b\",\n  \"n\": 1.5,\n  \"data\": {\n    \"b\": [],\n    \"a\": \"é\"\n  }\n}";
    let spaced = r#"{"id": "e6ae112e", "url": "a/b", "n": 1.5, "data": {"b": [], "a": "é"}}"#;
    let php = BODY.replace('/', "\\/");
    for other in [
        pretty,
        spaced,
        &php,
        &pretty.replace("  ", "    "),
        &pretty.replace("  ", "\t"),
        &format!("{pretty}\n"),
    ] {
        for (signed, given) in [(BODY, other), (other, BODY)] {
            if given.ends_with('\n') {
                continue; // This needs two changes, a new layout and a trailing newline; only one is found.
            }
            verify(given, &STANDARD.encode(sha512(SECRET, signed)))
                .assert_fails(1, &["the body was reformatted"]);
        }
    }
    let sorted = r#"{"data":{"a":"é","b":[]},"id":"e6ae112e","n":1.5,"url":"a/b"}"#;
    verify(BODY, &STANDARD.encode(sha512(SECRET, sorted)))
        .assert_fails(1, &["keys of the body were in another order"]);
}

#[test]
fn reports_decoded_secret() {
    let decoded = STANDARD_NO_PAD.decode(SECRET).unwrap();
    verify(BODY, &STANDARD.encode(sha512(decoded, BODY)))
        .assert_fails(1, &["decoded the secret from base64"]);
    let signature = STANDARD.encode(sha512(b"\x01\x23\xab", BODY));
    verify_with("0123ab", BODY, &signature).assert_fails(1, &["decoded the secret from hexadecimal"]);
}

#[test]
fn reports_two_mistakes_at_once() {
    let signature = hex(&sha512(SECRET, format!("{BODY}\n")));
    verify(BODY, &signature).assert_fails(1, &["hexadecimal", "a newline at the end of the body was signed"]);
}
