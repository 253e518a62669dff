//! The router, with requests that `lambda_http` creates from Lambda events.

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
async fn accepts_every_event_format() {
    let app = router().await;
    for template in [HTTP_API, FUNCTION_URL] {
        for encode in [plain, base64] {
            let event = encode(template, &TestEvent::busy(), &secret());
            let response = invoke(&app, &event).await;
            assert_eq!((response.status(), response.extensions().get::<Skipped>()), (StatusCode::OK, None));
        }
    }
}

#[tokio::test]
async fn text_and_base64_are_duplicates() {
    let app = router().await;
    let event = TestEvent::busy();
    assert_eq!(invoke(&app, &plain(HTTP_API, &event, &secret())).await.extensions().get::<Skipped>(), None);
    let second = invoke(&app, &base64(HTTP_API, &event, &secret())).await;
    assert_eq!(second.extensions().get(), Some(&Skipped::Duplicate));
}

#[tokio::test]
async fn rejects_forged_delivery() {
    let other_secret = Secret::new("a guess").unwrap();
    let app = router().await;
    for encode in [plain, base64] {
        let response = invoke(&app, &encode(HTTP_API, &TestEvent::busy(), &other_secret)).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}

/// A mapping template can do this: the JSON stays equal, but its bytes change.
#[tokio::test]
async fn rejects_rewritten_body() {
    let mut event = plain(HTTP_API, &TestEvent::busy(), &secret());
    let body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
    event["body"] = json!(serde_json::to_string_pretty(&body).unwrap());
    event["headers"]["content-length"] = json!(event["body"].as_str().unwrap().len().to_string());
    let response = invoke(&router().await, &event).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.kind(), RejectionKind::SignatureMismatch);
}

/// API Gateway joins headers with the same name by commas.
#[tokio::test]
async fn rejects_joined_signatures() {
    let mut event = plain(HTTP_API, &TestEvent::busy(), &secret());
    let signature = event["headers"]["roomz-signature"].as_str().unwrap();
    event["headers"]["roomz-signature"] = json!(format!("{signature},{signature}"));
    assert_eq!(invoke(&router().await, &event).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn named_stage_is_part_of_path() {
    let mut event = plain(HTTP_API, &TestEvent::busy(), &secret());
    event["requestContext"]["stage"] = json!("prod");
    event["rawPath"] = json!("/prod/webhooks/roomz");
    let app = router().await;
    assert_eq!(invoke(&app, &event).await.status(), StatusCode::NOT_FOUND);
    let app = axum::Router::new().nest("/prod", app);
    assert_eq!(invoke(&app, &event).await.status(), StatusCode::OK);
}
