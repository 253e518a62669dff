//! Tenants by path, compared with a map: a delivery is accepted only if its path's tenant signed it.

use std::collections::HashMap;
use std::convert::Infallible;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use roomz_protocol::testing::{TestEvent, signed_request};
use roomz_webhook::{Delivery, Tenant, TenantMap, WebhookBody, WebhookLayer};
use tower::{Layer, ServiceExt as _, service_fn};

use crate::SECRETS;

#[derive(Arbitrary)]
enum Step<'a> {
    Insert(Path<'a>, u8),
    Remove(Path<'a>),
    ReplaceAll(Vec<(Path<'a>, u8)>),
    Deliver(Path<'a>, u8),
}

#[derive(Arbitrary)]
enum Path<'a> {
    Known(u8, &'a str),
    Text(&'a str),
}

impl Path<'_> {
    fn text(&self) -> String {
        match self {
            Self::Known(index, end) => {
                format!("{}{end}", ["/a", "/b", "/a/", "//a", "/%61", "/A"][usize::from(*index) % 6])
            }
            Self::Text(text) => (*text).to_owned(),
        }
    }
}

pub fn run(input: &[u8]) {
    let Ok(script) = Vec::<Step<'_>>::arbitrary_take_rest(Unstructured::new(input)) else { return };
    crate::RUNTIME.with(|runtime| runtime.block_on(play(&script)));
}

/// Whether a request can have this path. Paths that look like the pattern of a router are refused, too.
fn is_path(path: &str) -> bool {
    let is_pattern = path.contains(['{', '}', '*']);
    path.starts_with('/')
        && !is_pattern
        && path.parse::<PathAndQuery>().is_ok_and(|it| it.as_str() == path && it.query().is_none())
}

async fn play(script: &[Step<'_>]) {
    let tenant = |index: &u8| {
        let index = usize::from(*index) % 3;
        (index, Tenant::new(["0", "1", "2"][index], SECRETS[index].clone()).unwrap())
    };
    let (tenants, mut expected) = (TenantMap::new(), HashMap::new());
    let layer = WebhookLayer::builder_for_tenants(tenants.clone()).build().unwrap();
    let service = layer.layer(service_fn(|request: Request<WebhookBody>| async move {
        let mut response = Response::new(Bytes::new());
        response.extensions_mut().insert(request.extensions().get::<Delivery>().cloned());
        Ok::<_, Infallible>(response)
    }));
    for step in script.iter().take(20) {
        match step {
            Step::Insert(path, index) => {
                let (path, (index, tenant)) = (path.text(), tenant(index));
                let is_ok = tenants.insert(&path, tenant).is_ok();
                assert_eq!(is_ok, is_path(&path), "{path:?}");
                if is_ok {
                    expected.insert(path, index);
                }
            }
            Step::Remove(path) => {
                assert_eq!(tenants.remove(&path.text()), expected.remove(&path.text()).is_some());
            }
            Step::ReplaceAll(all) => {
                let all: Vec<_> = all.iter().map(|(path, index)| (path.text(), tenant(index))).collect();
                let replaced =
                    tenants.replace_all(all.iter().map(|(path, (_, tenant))| (path, tenant.clone())));
                assert_eq!(replaced.is_ok(), all.iter().all(|(path, _)| is_path(path)));
                if replaced.is_ok() {
                    expected = all.into_iter().map(|(path, (index, _))| (path, index)).collect();
                }
            }
            Step::Deliver(path, index) => {
                let (Ok(uri), index) = (path.text().parse::<Uri>(), usize::from(*index) % 3) else {
                    continue;
                };
                let mut request = signed_request::<Vec<u8>>("/", TestEvent::busy().body(), &SECRETS[index]);
                let owner = expected.get(uri.path()).copied();
                *request.uri_mut() = uri;
                let request = request.map(|body| http_body_util::Full::new(Bytes::from(body)));
                let response = service.clone().oneshot(request).await.unwrap();
                assert_eq!(response.status(), if owner == Some(index) { 200 } else { 401 });
                if let Some(Some(delivery)) = response.extensions().get::<Option<Delivery>>() {
                    assert_eq!(delivery.namespace(), index.to_string());
                }
            }
        }
    }
}
