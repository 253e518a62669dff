use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use roomz_protocol::{Secrets, Timestamp};
use roomz_webhook::{Rejection, RejectionKind};
use tokio_util::sync::CancellationToken;

use super::format::{format_delivery, format_json};
use super::forward::{Forwarded, Forwarder, ReceiverAnswer};
use super::responses::{empty_response, text_response};
use super::save_file::SaveFile;
use super::signature_check::SignatureCheck;
use crate::client::TransportError;
use crate::escape::escape_truncated;
use crate::output;
use crate::saved_delivery::SavedDelivery;

/// Larger than the limit of a receiver (256 KiB by default), so that a body that it rejects can be saved.
const MAX_BODY: usize = 1024 * 1024;
/// The timeout for a complete body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers, prints and saves the requests to `listen`.
pub(super) struct Handler {
    /// `None` accepts every signature.
    pub(super) secrets: Option<Secrets>,
    /// The path that accepts deliveries.
    pub(super) path: String,
    /// Replaces the status of every delivery.
    pub(super) status: Option<StatusCode>,
    /// Passes every delivery on; `None` answers it here.
    pub(super) forwarder: Option<Forwarder>,
    pub(super) json: bool,
    pub(super) save_file: Option<Mutex<SaveFile>>,
    /// Cancelled when standard output is closed.
    pub(super) stop: CancellationToken,
}

impl Handler {
    pub(super) async fn handle(self: &Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let method = head.method.as_str();
        if head.uri.path() != self.path {
            self.print_rejected(method, &path, StatusCode::NOT_FOUND, &format!("not {}", self.path));
            return text_response(
                StatusCode::NOT_FOUND,
                format!("not found: this receiver accepts deliveries at {}\n", self.path),
            );
        }
        if head.method != Method::POST {
            return self.reject(method, &path, RejectionKind::MethodNotAllowed, "not POST");
        }
        let body = match read_body(body).await {
            Ok(body) => body,
            Err((kind, cause)) => return self.reject(method, &path, kind, cause),
        };
        let check = SignatureCheck::new(self.secrets.as_ref(), &head.headers, &body);
        let delivery = SavedDelivery {
            received: format!("{:.3}", Timestamp::now()),
            verified: check.is_verified(),
            headers: SavedDelivery::select_headers(&head.headers),
            method: head.method.clone(),
            path,
            body,
        };
        // A task of its own, so that a delivery is forwarded and printed also when the sender disconnects.
        let handler = Arc::clone(self);
        let task = async move { handler.handle_delivery(&delivery, &check, &head.headers).await };
        tokio::spawn(task).await.unwrap_or_else(|_| empty_response(StatusCode::INTERNAL_SERVER_ERROR))
    }

    async fn handle_delivery(
        &self,
        delivery: &SavedDelivery,
        check: &SignatureCheck,
        headers: &HeaderMap,
    ) -> Response<Full<Bytes>> {
        if let Some(file) = &self.save_file {
            let saved = file.lock().unwrap_or_else(PoisonError::into_inner).append(delivery);
            if let Err(error) = saved {
                output::print_error(&format!("cannot save a delivery: {error}; check the free disk space"));
                return text_response(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the delivery could not be saved\n".to_owned(),
                );
            }
        }
        let (response, forwarded) = match &self.forwarder {
            None => (self.own_answer(check), None),
            Some(forwarder) => {
                let (response, forwarded) = forward(forwarder, delivery, headers).await;
                (response, Some(forwarded))
            }
        };
        let status = response.status();
        if self.json {
            self.print(&format_json(delivery, status, forwarded.as_ref()));
        } else {
            self.print(&format_delivery(delivery, check, status, forwarded.as_ref()));
        }
        response
    }

    /// The answer without `--forward`.
    fn own_answer(&self, check: &SignatureCheck) -> Response<Full<Bytes>> {
        match (self.status, check.rejection()) {
            (None, Some(rejection)) => Rejection::new(rejection).into_response(),
            (status, _) => match status.unwrap_or(StatusCode::OK) {
                status if status.is_success() => empty_response(status),
                status => {
                    text_response(status, "this status was set with `roomz listen --status`\n".to_owned())
                }
            },
        }
    }

    fn reject(&self, method: &str, path: &str, kind: RejectionKind, cause: &str) -> Response<Full<Bytes>> {
        let rejection = Rejection::new(kind);
        self.print_rejected(method, path, rejection.status(), cause);
        rejection.into_response()
    }

    /// Prints a request that was rejected before its signature was verified.
    fn print_rejected(&self, method: &str, path: &str, status: StatusCode, cause: &str) {
        let line = format!("{method} {path} answered {} ({cause})", status.as_u16());
        if self.json {
            // With --json, standard output contains only deliveries.
            output::print_notice(&line);
        } else {
            self.print(&format!("{}\n", escape_truncated(&line, 300)));
        }
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
    headers: &HeaderMap,
) -> (Response<Full<Bytes>>, Forwarded) {
    match forwarder.forward(delivery, headers).await {
        Ok(ReceiverAnswer { response, elapsed }) => (response, Forwarded::Answered(elapsed)),
        Err(TransportError { cause, advice }) => {
            let address = forwarder.address();
            output::print_error(&format!("cannot forward a delivery to {address}: {cause}; {advice}"));
            let text = format!("`roomz listen --forward` got no answer from the receiver: {cause}\n");
            (text_response(StatusCode::BAD_GATEWAY, text), Forwarded::Failed(cause))
        }
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, (RejectionKind, &'static str)> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err((RejectionKind::BodyTooLarge, "the body is larger than 1 MiB"))
        }
        Ok(Err(_)) => Err((RejectionKind::BodyBroken, "the connection closed before the body was complete")),
        Err(_) => Err((RejectionKind::BodyTimeout, "the body was not complete within 10 s")),
    }
}
