//! Lambda events: deliveries in the JSON format that AWS documents for API Gateway and function URLs.

#![allow(dead_code)] // each test file uses only some of the helpers
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roomz_axum::Secret;
use roomz_axum::testing::TestEvent;
use serde_json::{Value, json};

/// The event of an HTTP API of API Gateway, payload version 2.0.
pub const HTTP_API: &str = include_str!("http-api.json");
/// The event of a function URL.
pub const FUNCTION_URL: &str = include_str!("function-url.json");

pub fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}

/// Creates the Lambda event of a signed delivery, with the body as text.
pub fn plain(template: &str, event: &TestEvent, secret: &Secret) -> Value {
    let body = event.body();
    let mut json: Value = serde_json::from_str(template).unwrap();
    json["headers"]["content-length"] = json!(body.len().to_string());
    json["headers"]["roomz-signature"] = json!(secret.sign(&body).to_base64());
    json["body"] = json!(String::from_utf8(body).unwrap());
    json
}

/// Creates the Lambda event of a signed delivery, with the body in base64.
pub fn base64(template: &str, event: &TestEvent, secret: &Secret) -> Value {
    let mut json = plain(template, event, secret);
    json["body"] = json!(STANDARD.encode(event.body()));
    json["isBase64Encoded"] = json!(true);
    json
}
