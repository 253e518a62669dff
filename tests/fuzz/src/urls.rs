//! URLs of databases, which are parsed without connecting: no error shows a password.
//!
//! Those of Redis are parsed while it connects.

use arbitrary::Arbitrary;
use futures_util::FutureExt as _;
use roomz_protocol::error_chain;
use roomz_sql::{ConnectError, ConnectErrorKind, Database, SqlStore, postgres_options, sqlite_options};

const CANARY: &str = "Canary7";
const SCHEMES: [&str; 12] = [
    "redis",
    "valkey",
    "redis+cluster",
    "valkey+cluster",
    "redis+sentinel",
    "valkey+sentinel",
    "redis+unix",
    "unix",
    "rediss",
    "postgres",
    "postgresql",
    "sqlite",
];

#[derive(Arbitrary)]
struct Parts<'a> {
    scheme: u8,
    user: &'a str,
    password: &'a str,
    hosts: Vec<(u8, Option<u16>)>,
    database: u8,
    parameters: Vec<(u8, &'a str)>,
    /// Texts that are inserted anywhere.
    insertions: Vec<(u8, &'a str)>,
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

pub fn run(input: &[u8]) {
    let Some(parts) = crate::generate::<Parts<'_>>(input) else {
        parse_all(&String::from_utf8_lossy(input));
        return;
    };
    let host = |(index, port): &(u8, Option<u16>)| {
        let host = ["localhost", "10.0.0.1", "[::1]", "db.example", ""][usize::from(*index) % 5];
        port.map_or(host.to_owned(), |port| format!("{host}:{port}"))
    };
    let scheme = SCHEMES[usize::from(parts.scheme) % SCHEMES.len()];
    let (user, password) = (format!("u{}", parts.user), format!("{CANARY}{}", parts.password));
    let hosts: Vec<_> = parts.hosts.iter().map(host).collect();
    let path = if scheme.ends_with("sentinel") { "/master" } else { "" };
    let mut text = format!(
        "{scheme}://{}:{}@{}{path}/{}",
        encode(&user),
        encode(&password),
        hosts.join(","),
        parts.database
    );
    let names =
        ["options", "password", "sentinel_password", "pass", "passfile", "sslmode", "protocol", "mode"];
    for (index, value) in &parts.parameters {
        let (mark, index) = (if text.contains('?') { '&' } else { '?' }, usize::from(*index) % names.len());
        // An error may show the value of the last ones.
        text += &format!("{mark}{}={}{}", names[index], encode(value), if index < 5 { CANARY } else { "" });
    }
    for (at, insertion) in parts.insertions.iter().filter(|(_, insertion)| !insertion.contains("mode")) {
        let after_scheme = text.find("://").map_or(0, |at| at + 3);
        let at = after_scheme + usize::from(*at) % (text.len() + 1 - after_scheme);
        let at = (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap();
        text.insert_str(at, insertion);
    }
    parse_all(&text);
}

fn parse_all(text: &str) {
    let _ = postgres_options(text).map_err(|error| assert_no_password(&error));
    // A URL for SQLite has no password, and sqlx quotes parts of it.
    if let Err(error) = sqlite_options(text)
        && !text.starts_with("sqlite:")
    {
        assert_no_password(&error);
    }
    let is_known = ["postgres:", "postgresql:", "sqlite:"].iter().any(|it| text.starts_with(it));
    if !is_known {
        let connected = SqlStore::connect(text).now_or_never().expect("an unknown scheme is refused at once");
        assert_no_password(&connected.unwrap_err());
    }
    let shown = format!("{:?} {:?}", Database::from(text), SqlStore::builder(text));
    assert!(!shown.contains(CANARY), "{shown}");
}

fn assert_no_password(error: &ConnectError) {
    assert_eq!(error.kind(), ConnectErrorKind::InvalidUrl, "{error:?}");
    let shown = format!("{error} {error:?} {}", error_chain(error));
    assert!(!shown.to_lowercase().contains(&CANARY.to_lowercase()), "{shown}");
}
