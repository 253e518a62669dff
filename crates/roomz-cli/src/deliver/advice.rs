use super::response::ReceiverResponse;
use crate::client::{PROXY_ADVICE, TransportError};

/// Tells the user what to do about the result of a failed delivery.
pub(super) fn advice(result: &Result<ReceiverResponse, TransportError>, forged: bool) -> &'static str {
    let response = match result {
        Err(error) => return error.advice,
        Ok(response) => response,
    };
    match response.status.as_u16() {
        _ if forged => "the receiver must answer 401 to a wrong signature",
        _ if response.is_grpc => {
            "a gRPC server answered, not the webhook: check the path of the URL, and let the server answer unknown paths \
             with 404"
        }
        401 => "compare the secret with the receiver's",
        404 | 405 => "check the path of the URL",
        407 => PROXY_ADVICE,
        503 => "check the receiver's log, and try --retry",
        500.. => "check the receiver's log",
        _ => "look up the reason in the receiver's documentation",
    }
}
