#!/usr/bin/env bash
# One line of a .env file is three secrets in dotenv 18.0.10, dotenvy 0.15.7 and python-dotenv 1.2.4.
#
# Guess: a value without quotes and spaces is read alike by the readers of Node, Rust and Python.
# Seen: for SECRET=a#b$c, dotenv ends the value at "#" ("a"), dotenvy replaces "$c" by an empty variable
# ("a#b"), and python-dotenv keeps all of it. Only single quotes give one value. No reader reports anything.
# It matters to whoever shares a webhook secret between a sender and a receiver in different languages: the
# files are equal, and every signature is wrong.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
printf '%s\n' 'SECRET=a#b$c' "QUOTED='a#b\$c'" > .env
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts dotenv@18.0.10
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check python-dotenv==1.2.4
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
dotenvy = "=0.15.7"
TOML
cat > src/main.rs <<'RUST'
fn main() {
    let lines: Vec<String> = dotenvy::from_path_iter(".env").unwrap().map(|line| line.unwrap().1).collect();
    println!("dotenvy: {}", lines.join(" "));
}
RUST
seen=$(
  node -p '"dotenv: " + Object.values(require("dotenv").parse(require("fs").readFileSync(".env"))).join(" ")'
  CARGO_TARGET_DIR=$folder/target cargo run --quiet
  venv/bin/python -c 'import dotenv; print("python-dotenv:", *dotenv.dotenv_values(".env").values())'
)
echo "dotenv $(node -p 'require("dotenv/package.json").version'), dotenvy 0.15.7, python-dotenv 1.2.4"
echo "$seen"
expected='dotenv: a a#b$c
dotenvy: a#b a#b$c
python-dotenv: a#b$c a#b$c'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
