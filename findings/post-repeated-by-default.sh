#!/usr/bin/env bash
# aiohttp-retry 2.9.1 and reqwest-retry 0.9.1 send a POST three times after a 503, and ignore `Retry-After`.
#
# Guess: without further settings a POST is not repeated, because it is not idempotent (RFC 9110, 9.2.2;
# httpx-retries 0.6.0 does not), and a `Retry-After` is obeyed.
# Seen: aiohttp-retry without settings and reqwest-retry with a policy of two retries send three POSTs
# within seconds, although the server asked for 30 s. The caller gets the last answer and no sign of the
# others.
# It matters to whoever receives webhooks: such a sender delivers duplicates on its own, below its retry
# schedule, while the receiver has just said that it is not ready.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check aiohttp==3.14.5 aiohttp-retry==2.9.1 httpx-retries==0.6.0
cat > run.py <<'PY'
import asyncio, http.server, subprocess, threading, time
import aiohttp_retry, httpx, httpx_retries

received = []


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        received.append(time.monotonic())
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503)
        self.send_header("Retry-After", "30")
        self.end_headers()

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"


async def send():
    async with aiohttp_retry.RetryClient() as client, client.post(url, data=b"{}") as answer:
        return answer.status


def report(name, status):
    waited = received[-1] - received[0] >= 30
    print(f"{name}: {len(received)} POSTs, waited for Retry-After: {waited}, the caller sees {status}")
    received.clear()


report("aiohttp-retry", asyncio.run(send()))
report("reqwest-retry", subprocess.check_output(["target/debug/finding", url], text=True).strip())
with httpx.Client(transport=httpx_retries.RetryTransport()) as client:
    report("httpx-retries", client.post(url, content=b"{}").status_code)
PY
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
reqwest = { version = "=0.13.5", default-features = false }
reqwest-middleware = { version = "=0.5.2", default-features = false }
reqwest-retry = { version = "=0.9.1", default-features = false }
tokio = { version = "=1.54.1", features = ["macros", "rt"] }
TOML
cat > src/main.rs <<'RUST'
use std::time::Duration;

use reqwest_retry::{RetryTransientMiddleware, policies::ExponentialBackoff};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), reqwest_middleware::Error> {
    let policy = ExponentialBackoff::builder()
        .retry_bounds(Duration::from_millis(100), Duration::from_millis(200))
        .build_with_max_retries(2);
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
        .with(RetryTransientMiddleware::new_with_policy(policy))
        .build();
    let url = std::env::args().nth(1).unwrap();
    println!("{}", client.post(url).body("{}").send().await?.status().as_u16());
    Ok(())
}
RUST
CARGO_TARGET_DIR=$folder/target cargo build --quiet
echo "reqwest-retry 0.9.1"
venv/bin/pip list 2>/dev/null | grep -E '^(aiohttp|aiohttp-retry|httpx-retries) ' | tr -s ' \n' '  '
echo
seen=$(venv/bin/python run.py)
echo "$seen"
expected='aiohttp-retry: 3 POSTs, waited for Retry-After: False, the caller sees 503
reqwest-retry: 3 POSTs, waited for Retry-After: False, the caller sees 503
httpx-retries: 1 POSTs, waited for Retry-After: False, the caller sees 503'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
