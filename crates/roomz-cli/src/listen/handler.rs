use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use roomz_protocol::{Secrets, Timestamp};
use roomz_webhook::{Rejection, RejectionKind};
use tokio_util::sync::CancellationToken;

use super::format::format_delivery;
use super::save_file::SaveFile;
use super::signature_check::SignatureCheck;
use crate::escape::{escape_json, escape_truncated};
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
    pub(super) json: bool,
    pub(super) save_file: Option<Mutex<SaveFile>>,
    /// Cancelled when standard output is closed.
    pub(super) stop: CancellationToken,
}

impl Handler {
    pub(super) async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
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
            method: head.method,
            path,
            body,
        };
        self.handle_delivery(&delivery, &check)
    }

    fn handle_delivery(&self, delivery: &SavedDelivery, check: &SignatureCheck) -> Response<Full<Bytes>> {
        let rejection = check.rejection().map(Rejection::new);
        let verified_status = rejection.as_ref().map_or(StatusCode::OK, Rejection::status);
        let status = self.status.unwrap_or(verified_status);
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
        if self.json {
            self.print(&(escape_json(&delivery.to_json().to_string()) + "\n"));
        } else {
            self.print(&format_delivery(delivery, check, status));
        }
        match (self.status, rejection) {
            (None, Some(rejection)) => rejection.into_response(),
            _ if status.is_success() => empty_response(status),
            _ => text_response(status, "this status was set with `roomz listen --status`\n".to_owned()),
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

fn empty_response(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

fn text_response(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
