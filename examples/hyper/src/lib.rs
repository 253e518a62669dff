//! The layer around a function: tower's `ServiceBuilder`, and nothing of a framework.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use roomz_webhook::{Delivery, EventData, WebhookBody, WebhookLayer};
use tower::ServiceExt as _;
use tower::util::BoxCloneService;
use tower::{Layer as _, service_fn};

/// The service that hyper runs for each request of type `B`.
pub type App<B> = BoxCloneService<Request<B>, Response<roomz_webhook::ResponseBody<Full<Bytes>>>, Infallible>;

/// Runs once for each event on `/webhooks/roomz`, and for every request elsewhere.
async fn handle(request: Request<WebhookBody>) -> Result<Response<Full<Bytes>>, Infallible> {
    let Some(delivery) = request.extensions().get::<Delivery>() else {
        // Not the webhook's path: here is the rest of your server.
        let mut not_found = Response::new(Full::from("not found\n"));
        *not_found.status_mut() = StatusCode::NOT_FOUND;
        return Ok(not_found);
    };
    let event = delivery.event();
    match &event.data {
        EventData::WorkspacePresenceChanged(change) => {
            println!("{} {} {}", event.id, change.workspace_id, change.presence_status);
        }
        _ => println!("{} {}", event.id, event.event_type),
    }
    Ok(Response::new(Full::default()))
}

/// The whole application, for any body: hyper's `Incoming`, or `Full<Bytes>` in a test.
pub fn app<B>(webhook: &WebhookLayer) -> App<B>
where
    B: http_body_util::BodyExt<Data = Bytes> + Send + 'static,
    B::Error: Into<tower::BoxError>,
{
    webhook.layer(service_fn(handle)).boxed_clone()
}
