#!/usr/bin/env bash
# A lease that sqlx 0.9.0 writes to SQLite does not expire before midnight for `CURRENT_TIMESTAMP`.
#
# Guess: `expires_at < CURRENT_TIMESTAMP` is true once the time has passed that sqlx has bound from a
# `chrono::DateTime<Utc>` or a `time::OffsetDateTime`.
# Seen: sqlx writes "2024-05-21T08:00:00+00:00" or "…Z", SQLite's clock is "2024-05-21 09:00:00", and SQLite
# compares text: "T" is greater than a space, so the value is in the future as long as the day is the same.
# A `NaiveDateTime` is written with a space and works.
# It matters to whoever keeps claims or retries in SQLite and lets the database compare: nothing is taken
# over until 00:00 UTC, and a test over midnight, or with a lease of a day, passes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
chrono = { version = "=0.4.45", default-features = false }
sqlx = { version = "=0.9.0", default-features = false, features = ["chrono", "runtime-tokio", "sqlite", "time"] }
time = "=0.3.55"
tokio = { version = "=1.54.1", features = ["macros", "rt"] }
TOML
cat > src/main.rs <<'RUST'
use sqlx::{Connection as _, SqliteConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sqlx::Error> {
    let mut database = SqliteConnection::connect("sqlite::memory:").await?;
    sqlx::query("CREATE TABLE claim (kind TEXT, expires_at TIMESTAMP)").execute(&mut database).await?;
    let eight = 1_716_278_400; // 2024-05-21T08:00:00Z
    let chrono = chrono::DateTime::from_timestamp(eight, 0).unwrap();
    let time = time::OffsetDateTime::from_unix_timestamp(eight).unwrap();
    let insert = "INSERT INTO claim VALUES (?, ?)";
    sqlx::query(insert).bind("DateTime<Utc>").bind(chrono).execute(&mut database).await?;
    sqlx::query(insert).bind("OffsetDateTime").bind(time).execute(&mut database).await?;
    sqlx::query(insert).bind("NaiveDateTime").bind(chrono.naive_utc()).execute(&mut database).await?;
    // datetime() has the form of CURRENT_TIMESTAMP; here the clock stands at 09:00 and at 00:00 of the next day.
    let rows: Vec<(String, String, bool, bool)> = sqlx::query_as(
        "SELECT kind, CAST(expires_at AS TEXT), expires_at < datetime('2024-05-21T09:00:00Z'),
            expires_at < datetime('2024-05-22T00:00:00Z') FROM claim",
    )
    .fetch_all(&mut database)
    .await?;
    for (kind, text, at_nine, at_midnight) in rows {
        println!("{kind}: {text}, expired at 09:00 {at_nine}, at 00:00 {at_midnight}");
    }
    let form: bool = sqlx::query_scalar("SELECT CURRENT_TIMESTAMP = datetime('now')").fetch_one(&mut database).await?;
    assert!(form);
    Ok(())
}
RUST
echo "sqlx 0.9.0, chrono 0.4.45, time 0.3.55"
seen=$(CARGO_TARGET_DIR=$folder/target cargo run --quiet)
echo "$seen"
expected='DateTime<Utc>: 2024-05-21T08:00:00+00:00, expired at 09:00 false, at 00:00 true
OffsetDateTime: 2024-05-21T08:00:00Z, expired at 09:00 false, at 00:00 true
NaiveDateTime: 2024-05-21 08:00:00, expired at 09:00 true, at 00:00 true'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
