//! The router, with requests that `lambda_http` creates from Lambda events.

use crate::event::{ALB, ALB_MULTI_VALUE, FUNCTION_URL, HTTP_API, REST_API, base64, plain, secret};
use axum::body::Body;
use axum::http::{Response, StatusCode};
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
    let router = router().await;
    // A REST API has a named stage.
    let app = axum::Router::new().nest("/prod", router.clone()).merge(router);
    for template in [HTTP_API, FUNCTION_URL, REST_API, ALB, ALB_MULTI_VALUE] {
        for encode in [plain, base64] {
            let event = encode(template, &TestEvent::busy(), &secret());
            let response = invoke(&app, &event).await;
            let skipped = response.extensions().get::<Skipped>();
            assert_eq!((response.status(), skipped), (StatusCode::OK, None), "{event}");
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

/// A load balancer with multi-value headers passes both values. Of a REST API, `lambda_http` keeps only the
/// last.
#[tokio::test]
async fn rejects_repeated_signatures() {
    let mut event = plain(ALB_MULTI_VALUE, &TestEvent::busy(), &secret());
    let signature = event["multiValueHeaders"]["roomz-signature"][0].clone();
    event["multiValueHeaders"]["roomz-signature"] = json!([signature, signature]);
    let response = invoke(&router().await, &event).await;
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.kind(), RejectionKind::SignatureRepeated);
}

/// A load balancer checks the health of its target group with GET requests, if that is enabled.
#[tokio::test]
async fn answers_health_check() {
    let mut event: Value = serde_json::from_str(ALB).unwrap();
    (event["httpMethod"], event["path"]) = (json!("GET"), json!("/readyz"));
    event["headers"] = json!({ "user-agent": "ELB-HealthChecker/2.0" });
    assert_eq!(invoke(&router().await, &event).await.status(), StatusCode::OK);
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
