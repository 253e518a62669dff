use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::Duration;

use rustls::{CertificateError as Problem, OtherError};

pub(crate) const PROXY_ADVICE: &str = "check the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, such as \
                                       http://USER:PASSWORD@HOST:PORT; NO_PROXY=HOST sends without";

/// An attempt without a response.
#[derive(Clone, Debug)]
pub(crate) struct TransportError {
    /// What happened, short: such attempts are counted under it.
    pub(crate) cause: String,
    /// What the user can do about it.
    pub(crate) advice: &'static str,
    /// Nothing was sent, because there was no connection.
    pub(crate) is_connect: bool,
}

impl TransportError {
    pub(super) fn new(error: &reqwest::Error, timeout: Duration) -> Self {
        let is_connect = error.is_connect();
        let last = causes(error).last().map(ToString::to_string).unwrap_or_default();
        let tls = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>());
        let (cause, advice) = match tls {
            _ if error.is_timeout() => (
                format!("no response within {} s", timeout.as_secs_f64()),
                "check that the receiver is running; raise --timeout if it is slow",
            ),
            Some(tls) => (tls.to_string(), tls_advice(tls)),
            None if last.contains("Too many open files") => {
                (last, "raise `ulimit -n`, or lower --connections")
            }
            None if is_connect => (
                last,
                "check that the receiver is running, the scheme, host and port of the URL, and HTTPS_PROXY, HTTP_PROXY and \
                 ALL_PROXY if they are set",
            ),
            None => (last, "check the receiver's log, and use https:// if this port expects TLS"),
        };
        Self { cause, advice, is_connect }
    }
}

/// The error and its causes, also those inside an [`io::Error`].
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(Some(error as &(dyn Error + 'static)), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}

fn tls_advice(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            // rustls has no variant for this error of WebPKI.
            Problem::Other(OtherError(other)) if other.to_string() == "CaUsedAsEndEntity" => {
                "this is the certificate of an authority: create it with `-addext basicConstraints=critical,CA:FALSE`"
            }
            Problem::NotValidForName | Problem::NotValidForNameContext { .. } => {
                "use a host of the certificate in the URL, or issue a certificate for this host"
            }
            Problem::Expired
            | Problem::ExpiredContext { .. }
            | Problem::NotValidYet
            | Problem::NotValidYetContext { .. } => "renew it, or correct the clock of this machine",
            _ => {
                "to trust it, name the certificate of its authority, or its own if it is self-signed, with --cacert FILE"
            }
        },
        rustls::Error::InvalidMessage(_) => {
            "the port does not speak TLS: use http:// in the URL, or the port that expects TLS"
        }
        _ => "check the TLS settings and the log of the server",
    }
}
