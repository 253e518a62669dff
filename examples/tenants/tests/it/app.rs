//! The router, without a server.

use axum::body::Body;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, TenantMap, WebhookLayer};
use tenants::secret_files;
use tower::ServiceExt as _;

fn write(directory: &tempfile::TempDir, path: &str, text: &str) {
    let path = directory.path().join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[tokio::test]
async fn each_customer_has_its_own_secret() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "acme/1", "the secret of acme");
    write(&directory, "globex/1", "the secret of globex");
    let tenants = TenantMap::new();
    let summary = secret_files::load(directory.path(), &tenants).unwrap();
    assert_eq!(summary, "acme (1 secret), globex (1 secret)");
    let app = tenants::app(WebhookLayer::builder_for_tenants(tenants).build().unwrap());

    let event = TestEvent::busy();
    for (path, signed_by, status, is_handled) in [
        ("acme", "acme", 200, true),
        ("globex", "globex", 200, true),
        ("acme", "acme", 200, false),
        ("acme", "globex", 401, false),
        ("initech", "acme", 401, false),
    ] {
        let secret = Secret::new(format!("the secret of {signed_by}")).unwrap();
        let request = event.request::<Body>(&format!("/webhooks/{path}"), &secret);
        let response = app.clone().oneshot(request).await.unwrap();
        let is_skipped = response.headers().contains_key("roomz-webhook-skipped");
        assert_eq!((response.status().as_u16(), !is_skipped && status == 200), (status, is_handled));
    }
}

#[test]
fn unusable_secrets_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let tenants = TenantMap::new();
    let load = || secret_files::load(directory.path(), &tenants).unwrap_err().to_string();
    assert!(load().contains("create one per customer"));
    write(&directory, "acme/1", "with a newline\n");
    assert!(load().contains("acme/1"));
    std::fs::remove_file(directory.path().join("acme/1")).unwrap();
    assert!(load().contains("write a secret into a file"));
    assert!(format!("{tenants:?}").contains("{}"), "{tenants:?}");
}
