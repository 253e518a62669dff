//! The router, with the requests that lambda_http makes of Lambda's events.

mod event;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use event::{FUNCTION_URL, HTTP_API, base64, plain, secret};
use roomz_axum::testing::TestEvent;
use roomz_axum::{Rejection, RejectionKind, Secret, Skipped};
use serde_json::{Value, json};
use tower::ServiceExt as _;

async fn router() -> axum::Router {
    lambda::app(lambda::webhook(secret(), None).await.unwrap())
}

async fn invoke(app: &axum::Router, event: &Value) -> Response<Body> {
    let request = lambda_http::request::from_str(&event.to_string()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_signed_body_is_handled_as_text_and_as_base64_from_api_gateway_and_from_a_function_url() {
    let app = router().await;
    for template in [HTTP_API, FUNCTION_URL] {
        for form in [plain, base64] {
            let event = form(template, &TestEvent::busy(), &secret());
            let answer = invoke(&app, &event).await;
            assert_eq!((answer.status(), answer.extensions().get::<Skipped>()), (StatusCode::OK, None));
        }
    }
}

#[tokio::test]
async fn the_same_body_as_text_and_as_base64_is_one_event() {
    let app = router().await;
    let event = TestEvent::busy();
    assert_eq!(invoke(&app, &plain(HTTP_API, &event, &secret())).await.extensions().get::<Skipped>(), None);
    let second = invoke(&app, &base64(HTTP_API, &event, &secret())).await;
    assert_eq!(second.extensions().get(), Some(&Skipped::Duplicate));
}

#[tokio::test]
async fn a_forged_delivery_is_refused() {
    let forger = Secret::new("a guess").unwrap();
    let app = router().await;
    for form in [plain, base64] {
        let answer = invoke(&app, &form(HTTP_API, &TestEvent::busy(), &forger)).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
}

/// What a mapping template does to a body: the same JSON in other bytes.
#[tokio::test]
async fn a_body_that_was_rewritten_on_its_way_is_refused() {
    let mut event = plain(HTTP_API, &TestEvent::busy(), &secret());
    let body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
    event["body"] = json!(serde_json::to_string_pretty(&body).unwrap());
    event["headers"]["content-length"] = json!(event["body"].as_str().unwrap().len().to_string());
    let answer = invoke(&router().await, &event).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let refusal = answer.extensions().get::<Rejection>().unwrap();
    assert_eq!(refusal.kind(), RejectionKind::SignatureMismatch);
}

/// API Gateway joins headers of the same name with commas.
#[tokio::test]
async fn two_signatures_that_were_joined_to_one_header_are_refused() {
    let mut event = plain(HTTP_API, &TestEvent::busy(), &secret());
    let signature = event["headers"]["roomz-signature"].as_str().unwrap();
    event["headers"]["roomz-signature"] = json!(format!("{signature},{signature}"));
    assert_eq!(invoke(&router().await, &event).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_named_stage_is_part_of_the_path() {
    let mut event = plain(HTTP_API, &TestEvent::busy(), &secret());
    event["requestContext"]["stage"] = json!("prod");
    event["rawPath"] = json!("/prod/webhooks/roomz");
    let app = router().await;
    assert_eq!(invoke(&app, &event).await.status(), StatusCode::NOT_FOUND);
    let app = axum::Router::new().nest("/prod", app);
    assert_eq!(invoke(&app, &event).await.status(), StatusCode::OK);
}
