#!/usr/bin/env bash
# lambda_http 1.3.2 sends only the first line of a repeated header in answers to an HTTP API or a function URL.
#
# Guess: an answer with two lines of a header keeps both values. Where the answer's JSON has room for one, as in the payload of
# version 2.0, they are joined by a comma, as HTTP permits and as API Gateway does with requests.
# Seen: the second line is dropped, without an error. In answers to a REST API both are there.
# It matters to whoever moves a service from axum to Lambda: `Vary: origin` and `Vary: accept`, which two layers add, become
# one, and a cache in front mixes up answers; of two `WWW-Authenticate` or `Link` lines one is gone. Join them before.
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
lambda_http = { version = "=1.3.2", default-features = false, features = ["apigw_http", "apigw_rest"] }
serde_json = "=1.0.154"
tokio = { version = "=1.54.1", features = ["macros", "rt"] }
tower = { version = "=0.5.3", features = ["util"] }
TOML
cat > src/main.rs <<'RUST'
use std::convert::Infallible;

use lambda_http::{
    Adapter, Body, Context, Error, LambdaEvent, Request, Response, request::LambdaRequest, service_fn,
};
use serde_json::json;
use tower::ServiceExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let rest = json!({
        "httpMethod": "POST", "path": "/", "resource": "/", "body": "{}", "isBase64Encoded": false,
        "headers": {}, "multiValueHeaders": {},
        "requestContext": {"httpMethod": "POST", "path": "/", "identity": {}},
    });
    let http = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/", "rawQueryString": "", "body": "{}", "isBase64Encoded": false,
        "headers": {},
        "requestContext": {"http": {"method": "POST", "path": "/"}, "timeEpoch": 0},
    });
    for (name, event) in [("REST API", rest), ("HTTP API or function URL", http)] {
        let handler = service_fn(|_: Request| async move {
            let answer = Response::builder().header("vary", "origin").header("vary", "accept");
            Ok::<_, Infallible>(answer.body(Body::Empty).unwrap())
        });
        let event = LambdaEvent::new(serde_json::from_value::<LambdaRequest>(event)?, Context::default());
        let answer = serde_json::to_value(Adapter::from(handler).oneshot(event).await?)?;
        println!("{name}: headers {}, multiValueHeaders {}", answer["headers"], answer["multiValueHeaders"]);
    }
    Ok(())
}
RUST
echo "lambda_http 1.3.2"
seen=$(CARGO_TARGET_DIR=$folder/target cargo run --quiet)
echo "$seen"
expected='REST API: headers {}, multiValueHeaders {"vary":["origin","accept"]}
HTTP API or function URL: headers {"vary":"origin"}, multiValueHeaders {}'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
