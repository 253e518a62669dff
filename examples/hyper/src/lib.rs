//! A function as a tower service, wrapped in the webhook layer.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use roomz_webhook::{Delivery, EventData, WebhookBody, WebhookLayer};
use tower::ServiceExt as _;
use tower::util::BoxCloneService;
use tower::{Layer as _, service_fn};

/// The service for requests with a body of type `B`.
pub type App<B> = BoxCloneService<Request<B>, Response<roomz_webhook::ResponseBody<Full<Bytes>>>, Infallible>;

/// Handles one event on `/webhooks/roomz`, and every request on other paths.
async fn handle(request: Request<WebhookBody>) -> Result<Response<Full<Bytes>>, Infallible> {
    let Some(delivery) = request.extensions().get::<Delivery>() else {
        // Another path: put the rest of your server here.
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

/// Creates the application for any body type: `Incoming` in the server, `Full<Bytes>` in a test.
pub fn app<B>(webhook: &WebhookLayer) -> App<B>
where
    B: http_body_util::BodyExt<Data = Bytes> + Send + 'static,
    B::Error: Into<tower::BoxError>,
{
    webhook.layer(service_fn(handle)).boxed_clone()
}
