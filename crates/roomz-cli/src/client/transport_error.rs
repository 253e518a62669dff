use std::error::Error;
use std::io;

use super::tls_error;

/// An attempt without a response.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TransportError {
    /// What happened, short: such attempts are counted under it.
    pub(crate) cause: String,
    /// What the user can do about it.
    pub(crate) advice: &'static str,
}

const CHECK_RECEIVER: &str = "check that the receiver is running, and the scheme, host and port of the URL";
const CHECK_LOG: &str = "check that the receiver is running, and its log";

impl TransportError {
    pub(crate) fn new(cause: impl Into<String>, advice: &'static str) -> Self {
        Self { cause: cause.into(), advice }
    }

    pub(super) fn timeout(seconds: f64) -> Self {
        Self::new(
            format!("no response within {seconds} s"),
            "check that the receiver is running; raise --timeout if it is slow",
        )
    }

    pub(super) fn unknown_host(host: &str) -> Self {
        Self::new(format!("the host name {host:?} cannot be resolved"), "check the host of the URL")
    }

    /// An error while connecting or of the TLS handshake.
    pub(super) fn connect(error: &io::Error) -> Self {
        if let Some(tls) = tls_error::find(error) {
            return tls_error::describe(tls);
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::new("connection refused", CHECK_RECEIVER),
            io::ErrorKind::ConnectionReset => Self::new("connection reset", CHECK_RECEIVER),
            io::ErrorKind::UnexpectedEof => Self::new(
                "the server closed the connection during the TLS handshake",
                "check that this port expects TLS, or use http:// in the URL",
            ),
            _ => Self::other_io(error),
        }
    }

    /// An error while sending a request or reading its response.
    pub(super) fn http(error: &hyper::Error) -> Self {
        let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        if let Some(tls) = io.and_then(tls_error::find) {
            return tls_error::describe(tls);
        }
        match io {
            _ if error.is_incomplete_message() => {
                Self::new("connection closed before the response", CHECK_LOG)
            }
            _ if error.is_parse() => Self::new(
                "the response is not HTTP/1.1",
                "check the port of the URL, and use https:// if this port expects TLS",
            ),
            Some(io) if io.kind() == io::ErrorKind::ConnectionReset => {
                Self::new("connection reset", CHECK_LOG)
            }
            Some(io) if io.kind() == io::ErrorKind::BrokenPipe => {
                Self::new("connection closed while sending the request", CHECK_LOG)
            }
            Some(io) => Self::other_io(io),
            None => Self::new("the connection failed", CHECK_LOG),
        }
    }

    fn other_io(error: &io::Error) -> Self {
        let cause = error.to_string();
        let advice = if cause.contains("Too many open files") {
            "raise `ulimit -n`, or lower --connections"
        } else {
            CHECK_RECEIVER
        };
        Self::new(cause, advice)
    }
}
