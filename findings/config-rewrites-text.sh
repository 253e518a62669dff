#!/usr/bin/env bash
# config 0.15.27 (config-rs) changes text in a `String` field that looks like a number in a YAML file.
#
# Guess: a value without quotes arrives in a `String` field as it stands in the file, or is refused, as
# figment 0.10.19 does it.
# Seen: the text becomes a number first, and the number is written into the `String`. "0012" is "12",
# 23 digits are rounded, 24E1241363259870 is "inf". `Environment` with `try_parsing(true)` does the same.
# It matters to whoever keeps a webhook secret or a sensor's number there: every signature is wrong although
# file and sender show the same secret, and two sensors have one name. No error is reported.
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
config = { version = "=0.15.27", default-features = false, features = ["yaml"] }
figment = { version = "=0.10.19", features = ["yaml"] }
serde = { version = "=1.0.229", features = ["derive"] }
TOML
cat > src/main.rs <<'RUST'
use figment::providers::Format as _;

#[derive(serde::Deserialize)]
struct Settings {
    secret: String,
}

fn main() {
    for text in ["0012", "12345678901234567890123", "24E1241363259870", "s3cret"] {
        let yaml = format!("secret: {text}\n");
        let file = config::File::from_str(&yaml, config::FileFormat::Yaml);
        let read = config::Config::builder().add_source(file).build().unwrap();
        let config: Result<Settings, _> = read.try_deserialize();
        let figment: Result<Settings, _> = figment::Figment::from(figment::providers::Yaml::string(&yaml)).extract();
        println!("{text}: config {:?}, figment {:?}", config.ok().map(|s| s.secret), figment.ok().map(|s| s.secret));
    }
}
RUST
echo "config 0.15.27, figment 0.10.19"
seen=$(CARGO_TARGET_DIR=$folder/target cargo run --quiet)
echo "$seen"
expected='0012: config Some("12"), figment Some("0012")
12345678901234567890123: config Some("12345678901234568000000"), figment None
24E1241363259870: config Some("inf"), figment Some("24E1241363259870")
s3cret: config Some("s3cret"), figment Some("s3cret")'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
