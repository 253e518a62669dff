#!/usr/bin/env bash
# With opentelemetry-http 0.33.1 (crate) the second `tracestate` line of a request is lost.
#
# Guess: two lines of `tracestate` are read as one list, as W3C Trace Context demands ("multiple tracestate header fields MUST be
# handled as specified by RFC 7230"), and as they are when a proxy has joined them.
# Seen: `HeaderExtractor` gives the propagator the first line only, and the trace goes on without the entries of the others.
# It matters to whoever has two tracing vendors on the way of a webhook: what the second one finds depends on whether a proxy
# in between joins lines. Join them before the extraction.
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

[profile.dev]
debug = false

[dependencies]
http = "=1.4.1"
opentelemetry = { version = "=0.33.1", default-features = false, features = ["trace"] }
opentelemetry-http = { version = "=0.33.1", default-features = false }
opentelemetry_sdk = { version = "=0.33.1", default-features = false, features = ["trace"] }
TOML
cat > src/main.rs <<'RUST'
use http::{HeaderMap, HeaderValue};
use opentelemetry::{propagation::TextMapPropagator as _, trace::TraceContextExt as _};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;

fn main() {
    for lines in [&["vendor=1,other=2"][..], &["vendor=1", "other=2"]] {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        for line in lines {
            headers.append("tracestate", HeaderValue::from_static(line));
        }
        let context = TraceContextPropagator::new().extract(&HeaderExtractor(&headers));
        println!("{} line(s): {}", lines.len(), context.span().span_context().trace_state().header());
    }
}
RUST
echo "opentelemetry-http 0.33.1"
seen=$(CARGO_TARGET_DIR=$folder/target cargo run --quiet)
echo "$seen"
expected='1 line(s): vendor=1,other=2
2 line(s): vendor=1'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
