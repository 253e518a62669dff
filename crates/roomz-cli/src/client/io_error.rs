//! Describes errors of connections.

use std::error::Error;
use std::io;

use super::tls_error;
use super::transport_error::TransportError;

const CHECK_RECEIVER: &str = "check that the receiver is running, and the scheme, host and port of the URL";
const CHECK_LOG: &str = "check that the receiver is running, and its log";

/// An error while connecting or of the TLS handshake.
pub(super) fn connect_error(error: &io::Error) -> TransportError {
    if let Some(tls) = tls_error::find(error) {
        return tls_error::describe(tls);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => TransportError::new("connection refused", CHECK_RECEIVER),
        io::ErrorKind::ConnectionReset => TransportError::new("connection reset", CHECK_RECEIVER),
        io::ErrorKind::UnexpectedEof => TransportError::new(
            "the server closed the connection during the TLS handshake",
            "check that this port expects TLS, or use http:// in the URL",
        ),
        _ => other_io_error(error),
    }
}

/// An error while sending a request or reading its response.
pub(super) fn http_error(error: &hyper::Error) -> TransportError {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    if let Some(tls) = io.and_then(tls_error::find) {
        return tls_error::describe(tls);
    }
    match io {
        _ if error.is_incomplete_message() => {
            TransportError::new("connection closed before the response", CHECK_LOG)
        }
        _ if error.is_parse() => TransportError::new(
            "the response is not HTTP/1.1",
            "check the port of the URL, and use https:// if this port expects TLS",
        ),
        Some(io) if io.kind() == io::ErrorKind::ConnectionReset => {
            TransportError::new("connection reset", CHECK_LOG)
        }
        Some(io) if io.kind() == io::ErrorKind::BrokenPipe => {
            TransportError::new("connection closed while sending the request", CHECK_LOG)
        }
        Some(io) => other_io_error(io),
        None => TransportError::new("the connection failed", CHECK_LOG),
    }
}

fn other_io_error(error: &io::Error) -> TransportError {
    let cause = error.to_string();
    let advice = if cause.contains("Too many open files") {
        "raise `ulimit -n`, or lower --connections"
    } else {
        CHECK_RECEIVER
    };
    TransportError::new(cause, advice)
}
