//! The event handler as a tower service in the webhook layer, and the routes of actix-web.

pub mod adapter;

use std::convert::Infallible;

use actix_web::{HttpResponse, web};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use roomz_webhook::{Delivery, EventData, WebhookBody, WebhookLayer};

/// Handles one event. A 2xx completes the event. After another status it runs again if ROOMZ redelivers.
async fn presence(request: Request<WebhookBody>) -> Result<Response<Full<Bytes>>, Infallible> {
    let Some(delivery) = request.extensions().get::<Delivery>() else {
        unreachable!("the layer passes no request without a delivery");
    };
    let event = delivery.event();
    match &event.data {
        EventData::WorkspacePresenceChanged(change) => {
            println!("{} {} {}", event.id, change.workspace_id, change.presence_status);
        }
        _ => println!("{} {}", event.id, event.event_type),
    }
    Ok(Response::default())
}

/// Adds the routes. The handlers of events run on the tokio runtime `handlers`, not on the threads of
/// actix-web.
pub fn routes(
    webhook: WebhookLayer,
    handlers: tokio::runtime::Handle,
) -> impl Fn(&mut web::ServiceConfig) + Clone {
    let adapter = adapter::Adapter::new(&webhook, tower::service_fn(presence), handlers);
    move |config| {
        config
            .app_data(web::Data::new(adapter.clone()))
            .app_data(web::Data::new(webhook.clone()))
            .route("/webhooks/roomz", web::to(adapter::receive))
            .route("/readyz", web::get().to(readyz));
    }
}

/// Answers a readiness probe: 503 from the beginning of a shutdown on, and while the store is unavailable.
async fn readyz(webhook: web::Data<WebhookLayer>) -> HttpResponse {
    match webhook.check_ready().await {
        Ok(()) => HttpResponse::Ok().body("ready\n"),
        Err(rejection) => HttpResponse::ServiceUnavailable().body(format!("{rejection}\n")),
    }
}
