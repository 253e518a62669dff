//! Lambda events: deliveries in the JSON formats that AWS documents.

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
/// The event of a REST API of API Gateway with proxy integration, in the stage `prod`.
pub const REST_API: &str = include_str!("rest-api.json");
/// The event of an Application Load Balancer.
pub const ALB: &str = include_str!("alb.json");
/// The event of an Application Load Balancer whose target group has multi-value headers enabled.
pub const ALB_MULTI_VALUE: &str = include_str!("alb-multi-value.json");

pub fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}

/// Creates the Lambda event of a signed delivery, with the body as text.
pub fn plain(template: &str, event: &TestEvent, secret: &Secret) -> Value {
    let body = event.body();
    let mut json: Value = serde_json::from_str(template).unwrap();
    set_header(&mut json, "content-length", &body.len().to_string());
    set_header(&mut json, "roomz-signature", &secret.sign(&body).to_base64());
    json["body"] = json!(String::from_utf8(body).unwrap());
    json
}

/// Sets the value of a header that the template contains. A REST API keeps the spelling of the client.
fn set_header(event: &mut Value, name: &str, value: &str) {
    for (member, value) in [("headers", json!(value)), ("multiValueHeaders", json!([value]))] {
        for (key, old) in event[member].as_object_mut().into_iter().flatten() {
            if key.eq_ignore_ascii_case(name) {
                *old = value.clone();
            }
        }
    }
}

/// Creates the Lambda event of a signed delivery, with the body in base64.
pub fn base64(template: &str, event: &TestEvent, secret: &Secret) -> Value {
    let mut json = plain(template, event, secret);
    json["body"] = json!(STANDARD.encode(event.body()));
    json["isBase64Encoded"] = json!(true);
    json
}
