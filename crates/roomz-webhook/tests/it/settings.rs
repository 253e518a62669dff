//! An invalid setting is an error when the layer is built. The error names the setting and its value.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body_util::Full;
use roomz_webhook::{
    Clock as _, Secret, Secrets, SecretsHandle, StalePolicy, SystemClock, Tenant, TenantMap, Timestamp,
    WebhookBody, WebhookLayer, WebhookLayerBuilder,
};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::support::secret;

fn build_error(settings: impl FnOnce(WebhookLayerBuilder) -> WebhookLayerBuilder) -> String {
    settings(WebhookLayer::builder(secret())).build().unwrap_err().to_string()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn rejects_missing_and_empty_secret() {
    assert!(Secrets::new([]).unwrap_err().to_string().contains("at least one webhook secret"));
    assert!(Secret::new("").unwrap_err().to_string().contains("empty"));
}

/// Counts the log lines of a call.
#[derive(Clone, Default)]
struct LineCount(Arc<AtomicU64>);

impl tracing::Subscriber for LineCount {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

fn count_lines(call: impl FnOnce()) -> u64 {
    let lines = LineCount::default();
    tracing::subscriber::with_default(lines.clone(), call);
    lines.0.load(Ordering::SeqCst)
}

/// Such a secret may be right, so the layer accepts it.
#[test]
fn logs_secret_copied_with_syntax() {
    for (secret, expected) in [("'k'", 1), ("KEY=k", 1), ("k;", 1), ("“k", 1), ("k", 0), ("az==", 0)] {
        let secret = Secret::new(secret).unwrap();
        assert_eq!(count_lines(|| drop(SecretsHandle::new(secret.clone()))), expected);
        let tenant = Tenant::new("acme", secret.clone()).unwrap();
        let tenants = TenantMap::new();
        assert_eq!(count_lines(|| tenants.insert("/acme", tenant.clone()).unwrap()), expected);
        assert_eq!(count_lines(|| tenants.replace_all([("/acme", tenant)]).unwrap()), expected);
        // A lookup may create the tenant of each request.
        assert_eq!(count_lines(|| drop(Tenant::new("acme", secret.clone()))), 0);
        let handle = SecretsHandle::new(Secret::new("another").unwrap());
        assert_eq!(count_lines(|| handle.set(secret.clone())), expected);
        assert_eq!(count_lines(|| drop(WebhookLayer::builder(secret).build())), expected);
    }
}

#[test]
fn build_error_names_setting_and_value() {
    assert_eq!(build_error(|b| b.with_body_limit(0)), "`with_body_limit` is zero; set a value above zero");
    for (name, text) in [
        ("body_timeout", build_error(|b| b.with_body_timeout(Duration::ZERO))),
        ("max_age", build_error(|b| b.with_max_age(Duration::ZERO, StalePolicy::Reject))),
        ("store_timeout", build_error(|b| b.with_store_timeout(Duration::ZERO))),
        ("lease", build_error(|b| b.with_lease(Duration::ZERO))),
        ("lease_ceiling", build_error(|b| b.with_lease_ceiling(Duration::ZERO))),
        ("retention", build_error(|b| b.with_retention(Duration::ZERO))),
    ] {
        assert_eq!(text, format!("`with_{name}` is zero; set a value above zero"));
    }
    for (name, text) in [
        ("body_timeout", build_error(|b| b.with_body_timeout(Duration::MAX))),
        ("max_age", build_error(|b| b.with_max_age(Duration::MAX, StalePolicy::Reject))),
        ("store_timeout", build_error(|b| b.with_store_timeout(Duration::MAX))),
        ("lease", build_error(|b| b.with_lease(Duration::MAX))),
        ("duplicate_wait", build_error(|b| b.with_duplicate_wait(Duration::MAX))),
        ("retention", build_error(|b| b.with_retention(Duration::MAX))),
    ] {
        assert!(text.starts_with(&format!("`with_{name}` is ")) && text.contains("ten years"), "{text}");
    }
    let ten_years = SECOND * (10 * 365 * 24 * 60 * 60);
    assert!(build_error(|b| b.with_retention(ten_years + Duration::from_nanos(1))).contains("ten years"));
    assert!(WebhookLayer::builder(secret()).with_retention(ten_years).build().is_ok());
    assert_eq!(
        build_error(|b| b
            .with_max_age(SECOND * 100, StalePolicy::Reject)
            .with_retention(SECOND * 100)
            .with_lease(SECOND * 10)
            .with_lease_ceiling(SECOND * 10)),
        "`with_retention` is 100s, but must be at least 400s (`with_max_age + 5 min`)"
    );
    assert!(build_error(|b| b.with_lease(SECOND)).contains("at least 6s (`3 × with_store_timeout`)"));
    assert!(build_error(|b| b.with_lease_ceiling(SECOND * 59)).contains("at least 60s (`with_lease`)"));
    assert!(build_error(|b| b.with_retention(SECOND * 599)).contains("at least 600s (`with_lease_ceiling`)"));
    for path in ["", "webhooks", "/a?b", "/a#b", "/web hooks", "/x ", "/{id}", "/a/*", "http://host/a", "*"] {
        let error = WebhookLayer::builder(secret()).with_path(path).build().unwrap_err().to_string();
        assert!(error.contains(&format!("{path:?}")), "{error}");
    }
    for (path, problem) in
        [("/h?x", "contains a query"), ("/{id}", "a router's pattern"), ("h", "does not start with `/`")]
    {
        let error = WebhookLayer::builder(secret()).with_path(path).build().unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    assert!(WebhookLayer::builder(secret()).with_path("/a%20b/:c").build().is_ok());
    let long = "x".repeat(256);
    for (namespace, problem) in [
        ("", "is \"\": it is empty"),
        (long.as_str(), "longer than 255 bytes"),
        ("a\0b", "is \"a\\0b\": it contains a control character"),
    ] {
        let error =
            WebhookLayer::builder(secret()).with_namespace(namespace).build().unwrap_err().to_string();
        assert!(error.contains(problem) && error.len() < 200, "{error}");
    }
    assert!(WebhookLayer::builder(secret()).with_namespace(&long[..255]).build().is_ok());
}

/// An error that `main` returns is printed with `Debug`.
#[test]
fn build_error_debug_is_readable() {
    let error = WebhookLayer::builder(secret()).with_body_limit(0).build().unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
}

#[test]
fn duplicate_wait_may_be_zero() {
    assert!(WebhookLayer::builder(secret()).with_duplicate_wait(Duration::ZERO).build().is_ok());
}

#[test]
fn default_clock_is_that_of_the_system() {
    let before = Timestamp::now();
    let now = SystemClock.now();
    assert!((before..=Timestamp::now()).contains(&now), "{now}");
}

/// A request without a signature header says nothing about the path.
#[test]
fn wrong_path_is_logged_once() {
    let layer = WebhookLayer::builder(secret()).with_path("/hook").build().unwrap();
    let service = layer.layer(service_fn(async |_: Request<WebhookBody>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    for (header, expected) in [("x-other", 0), ("roomz-signature", 1)] {
        let lines = count_lines(|| {
            for _ in 0..30 {
                let request = Request::post("/api/hook").header(header, "x");
                let request = request.body(Full::<Bytes>::default()).unwrap();
                assert!(service.clone().oneshot(request).now_or_never().unwrap().is_ok());
            }
        });
        assert_eq!(lines, expected, "{header}");
    }
}
