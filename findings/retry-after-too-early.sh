#!/usr/bin/env bash
# Who waits as long as `Retry-After` says is refused again by tower_governor 0.8.0 and koa-ratelimit 6.0.0.
#
# Guess: a rate limiter rounds the rest of the time up, so that a client which waits exactly that long gets through.
# Seen: both cut it to whole seconds. With a rest of 0.9 s the header is `Retry-After: 0`, as long as the limit lasts; a rest
# of 2.7 s is 2. express-rate-limit 8.7.5 rounds up.
# It matters to whoever puts a limiter in front of a webhook: a sender that obeys is refused a second time, and one that
# gives up after a few attempts spends them all within a second.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts koa@3.3.0 koa-ratelimit@6.0.0 express@5.3.0 express-rate-limit@8.7.5 & # while cargo builds
install=$!
cat > limit.js <<'JS'
import express from 'express';
import { rateLimit } from 'express-rate-limit';
import Koa from 'koa';
import koaLimit from 'koa-ratelimit';

const duration = 2700, sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
const koa = new Koa();
koa.use(koaLimit({ driver: 'memory', db: new Map(), duration, max: 1, id: () => 'sender' }));
koa.use(context => { context.body = 'done'; });
const withExpress = express();
withExpress.use(rateLimit({ windowMs: duration, limit: 1 }));
withExpress.get('/', (request, response) => response.send('done'));
const servers = { 'koa-ratelimit': koa.listen(0), 'express-rate-limit': withExpress.listen(0) };
await sleep(500);
await sleep(1100 - Date.now() % 1000); // a tenth of a second past a whole one, so that each run is alike
for (const line of await Promise.all(Object.entries(servers).map(async ([name, server]) => {
  const url = `http://127.0.0.1:${server.address().port}/`, seen = [(await fetch(url)).status];
  for (let attempt = 0; attempt < 4; attempt++) {
    const response = await fetch(url), after = response.headers.get('retry-after');
    seen.push(response.status === 429 ? `429 after ${after}` : response.status);
    if (response.status !== 429) break;
    await sleep(1000 * Number(after));
  }
  return `${name}: ${seen.join(', ')}`;
}))) console.log(line);
process.exit();
JS
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[profile.dev]
debug = false

[dependencies]
axum = { version = "=0.8.9", default-features = false }
pollster = "=0.4.0"
tower = { version = "=0.5.3", features = ["util"] }
tower_governor = { version = "=0.8.0", default-features = false, features = ["axum"] }
TOML
cat > src/main.rs <<'RUST'
use axum::{Router, body::Body, http::Request, routing::get};
use std::{thread::sleep, time::Duration};
use tower::ServiceExt;
use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder, key_extractor::GlobalKeyExtractor};

fn main() {
    for period in [900, 2700] {
        let limit = GovernorConfigBuilder::default()
            .period(Duration::from_millis(period))
            .burst_size(1)
            .key_extractor(GlobalKeyExtractor)
            .finish()
            .unwrap();
        let app = Router::new().route("/", get(|| async { "done" })).layer(GovernorLayer::new(limit));
        let mut seen = Vec::new();
        for _ in 0..5 {
            let response = pollster::block_on(app.clone().oneshot(Request::new(Body::empty()))).unwrap();
            let Some(after) = response.headers().get("retry-after") else {
                seen.push(response.status().as_u16().to_string());
                continue;
            };
            let after = after.to_str().unwrap();
            seen.push(format!("{} after {after}", response.status().as_u16()));
            sleep(Duration::from_secs(after.parse().unwrap()));
        }
        println!("tower_governor, {period} ms: {}", seen.join(", "));
    }
}
RUST
echo "tower_governor 0.8.0, koa-ratelimit 6.0.0, express-rate-limit 8.7.5"
CARGO_TARGET_DIR=$folder/target cargo build --quiet -j2
wait "$install"
seen=$(target/debug/finding; node limit.js)
echo "$seen"
expected='tower_governor, 900 ms: 200, 429 after 0, 429 after 0, 429 after 0, 429 after 0
tower_governor, 2700 ms: 200, 429 after 2, 429 after 0, 429 after 0, 429 after 0
koa-ratelimit: 200, 429 after 2, 429 after 0, 429 after 0, 429 after 0
express-rate-limit: 200, 429 after 3, 200'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
