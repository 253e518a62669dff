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

use super::forward::Forwarder;
use crate::escape::escape_truncated;
use crate::event_text::describe;
use crate::output::{self, DIM_STYLE, ERROR_STYLE, SUCCESS_STYLE};
use crate::saved::{SaveFile, SavedDelivery};
use crate::signature;

/// Larger than the limit of a receiver (256 KiB by default), so that a body that it rejects can be saved.
const MAX_BODY: usize = 1024 * 1024;
/// The timeout for a complete body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// A longer body is cut on the terminal.
const MAX_BODY_CHARS: usize = 2_000;

/// The result of verifying a signature; `None` when there is no secret to verify it with.
type Check = Option<Result<(), Rejection>>;

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
        Err(kind) => {
            // It was rejected before its signature was verified.
            let response: Response = Rejection::new(kind).into_response();
            let (status, reason) = (response.status().as_u16(), kind.as_str());
            let line = format!("{} {} answered {status} ({reason})", head.method, head.uri);
            receiver.print(&format!("{}\n", escape_truncated(&line, 300)));
            return response;
        }
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
        let (response, answer) = match &self.forwarder {
            None => {
                let response = self.own_answer(check);
                let answer = format!("answered {}", response.status().as_u16());
                (response, answer)
            }
            Some(forwarder) => forwarder.forward(delivery, headers).await,
        };
        let check = match check {
            None => "not verified (no secret)".to_owned(),
            Some(Ok(())) => format!("{SUCCESS_STYLE}verified{SUCCESS_STYLE:#}"),
            Some(Err(rejection)) => format!("{ERROR_STYLE}NOT VERIFIED{ERROR_STYLE:#}: {rejection}"),
        };
        self.print(&format!(
            "{} POST {} {check}, {answer}\n  {}\n  {DIM_STYLE}{}{DIM_STYLE:#}\n",
            delivery.received,
            escape_truncated(&delivery.path, 200),
            escape_truncated(&describe(&delivery.body), 500),
            escape_truncated(&String::from_utf8_lossy(&delivery.body), MAX_BODY_CHARS),
        ));
        response
    }

    /// The answer without `--forward`.
    fn own_answer(&self, check: &Check) -> Response {
        match (self.status, check) {
            (None, Some(Err(rejection))) => rejection.clone().into_response(),
            (None, _) => StatusCode::OK.into_response(),
            (Some(status), _) => status.into_response(),
        }
    }

    /// Prints, and stops the server when standard output is closed.
    fn print(&self, text: &str) {
        if output::try_print(text.as_bytes()).is_err() {
            self.stop.cancel();
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
