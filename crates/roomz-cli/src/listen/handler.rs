use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use roomz_protocol::{Secrets, Timestamp};
use roomz_webhook::{Rejection, RejectionKind};
use tokio_util::sync::CancellationToken;

use super::format::{Check, format_delivery};
use super::forward::{Forwarded, Forwarder};
use super::save_file::SaveFile;
use crate::client::TransportError;
use crate::escape::escape_truncated;
use crate::saved_delivery::SavedDelivery;
use crate::{output, signature};

/// Larger than the limit of a receiver (256 KiB by default), so that a body that it rejects can be saved.
const MAX_BODY: usize = 1024 * 1024;
/// The timeout for a complete body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers, prints and saves the requests to `listen`.
pub(super) struct Receiver {
    /// `None` accepts every signature.
    pub(super) secrets: Option<Secrets>,
    /// Replaces the status of every delivery.
    pub(super) status: Option<StatusCode>,
    /// Passes every delivery on; `None` answers it here.
    pub(super) forwarder: Option<Forwarder>,
    pub(super) save_file: Option<Mutex<SaveFile>>,
    /// Cancelled when standard output is closed.
    pub(super) stop: CancellationToken,
}

pub(super) async fn receive(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = match read_body(&head, body).await {
        Ok(body) => body,
        Err(kind) => return receiver.reject(&head, Rejection::new(kind).into_response(), kind.as_str()),
    };
    let secrets = receiver.secrets.as_ref();
    let check = secrets.map(|secrets| signature::verify(secrets, &head.headers, &body));
    let delivery = SavedDelivery {
        received: format!("{:.3}", Timestamp::now()),
        verified: check.as_ref().map(Result::is_ok),
        headers: SavedDelivery::select_headers(&head.headers),
        path: head.uri.to_string(),
        body,
    };
    // A task of its own, so that a delivery is forwarded and printed also when the sender disconnects.
    let task = async move { receiver.handle_delivery(&delivery, &check, head.headers).await };
    tokio::spawn(task).await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

impl Receiver {
    async fn handle_delivery(&self, delivery: &SavedDelivery, check: &Check, headers: HeaderMap) -> Response {
        if let Some(file) = &self.save_file {
            let saved = file.lock().unwrap_or_else(PoisonError::into_inner).append(delivery);
            if let Err(error) = saved {
                output::print_error(&format!("cannot save a delivery: {error}; check the free disk space"));
                return (StatusCode::INTERNAL_SERVER_ERROR, "the delivery could not be saved\n")
                    .into_response();
            }
        }
        let (response, forwarded) = match &self.forwarder {
            None => (self.own_answer(check), None),
            Some(forwarder) => {
                let (response, forwarded) = forward(forwarder, delivery, headers).await;
                (response, Some(forwarded))
            }
        };
        self.print(&format_delivery(delivery, check, response.status(), forwarded));
        response
    }

    /// The answer without `--forward`.
    fn own_answer(&self, check: &Check) -> Response {
        match (self.status, check) {
            (None, Some(Err(rejection))) => rejection.clone().into_response(),
            (None, _) => StatusCode::OK.into_response(),
            (Some(status), _) if status.is_success() => status.into_response(),
            (Some(status), _) => {
                (status, "this status was set with `roomz listen --status`\n").into_response()
            }
        }
    }

    /// Prints a request that was rejected before its signature was verified.
    fn reject(&self, head: &Parts, response: Response, reason: &str) -> Response {
        let line = format!("{} {} answered {} ({reason})", head.method, head.uri, response.status().as_u16());
        self.print(&format!("{}\n", escape_truncated(&line, 300)));
        response
    }

    /// Prints, and stops the server when standard output is closed.
    fn print(&self, text: &str) {
        if output::try_print(text.as_bytes()).is_err() {
            self.stop.cancel();
        }
    }
}

/// Returns the receiver's answer, or 502 when there is none.
async fn forward(
    forwarder: &Forwarder,
    delivery: &SavedDelivery,
    headers: HeaderMap,
) -> (Response, Forwarded) {
    match forwarder.forward(delivery, headers).await {
        Ok((response, elapsed)) => (response, Forwarded::Answered(elapsed)),
        Err(TransportError { cause, advice, .. }) => {
            let address = forwarder.address();
            output::print_error(&format!("cannot forward a delivery to {address}: {cause}; {advice}"));
            let text = format!("`roomz listen --forward` got no answer from the receiver: {cause}\n");
            ((StatusCode::BAD_GATEWAY, text).into_response(), Forwarded::Failed)
        }
    }
}

async fn read_body(head: &Parts, body: Body) -> Result<Bytes, RejectionKind> {
    if head.method != Method::POST {
        return Err(RejectionKind::MethodNotAllowed);
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(RejectionKind::BodyTooLarge),
        Ok(Err(_)) => Err(RejectionKind::BodyBroken),
        Err(_) => Err(RejectionKind::BodyTimeout),
    }
}
