use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::Duration;

use rustls::{CertificateError as Problem, OtherError};

use super::proxy::PROXY_ADVICE;

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
    pub(super) fn new(error: &reqwest::Error, timeout: Duration, proxy: Option<&str>) -> Self {
        let is_connect = error.is_connect();
        let last = causes(error).last().map(ToString::to_string).unwrap_or_default();
        let tls = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>());
        let (cause, advice) = match (tls, proxy) {
            _ if error.is_timeout() => (
                format!("no response within {} s", timeout.as_secs_f64()),
                "check that the receiver is running; raise --timeout if it is slow",
            ),
            (Some(tls), _) => describe_tls(tls),
            _ if last.contains("Too many open files") => (last, "raise `ulimit -n`, or lower --connections"),
            (None, Some(proxy)) if is_connect => {
                (format!("{last} (through the proxy {proxy})"), PROXY_ADVICE)
            }
            _ if is_connect => {
                (last, "check that the receiver is running, and the scheme, host and port of the URL")
            }
            _ => (last, "check the receiver's log, and use https:// if this port expects TLS"),
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

fn describe_tls(error: &rustls::Error) -> (String, &'static str) {
    const TRUST_IT: &str = "to trust it, name the certificate of its authority, or its own if it is self-signed, with --cacert FILE";
    let (cause, advice) = match error {
        rustls::Error::InvalidCertificate(problem) => {
            let invalid = format!("certificate is invalid: {problem}");
            match problem {
                Problem::UnknownIssuer => ("certificate is from an unknown authority".to_owned(), TRUST_IT),
                // rustls has no variant for this error of WebPKI.
                Problem::Other(OtherError(other)) if other.to_string() == "CaUsedAsEndEntity" => {
                    let advice = "create it with `-addext basicConstraints=critical,CA:FALSE`";
                    ("certificate is that of an authority".to_owned(), advice)
                }
                Problem::NotValidForName | Problem::NotValidForNameContext { .. } => (
                    invalid,
                    "use a host of the certificate in the URL, or issue a certificate for this host",
                ),
                Problem::Expired
                | Problem::ExpiredContext { .. }
                | Problem::NotValidYet
                | Problem::NotValidYetContext { .. } => {
                    (invalid, "renew it, or correct the clock of this machine")
                }
                // The system may trust another certificate with the same name.
                _ => (invalid, TRUST_IT),
            }
        }
        rustls::Error::InvalidMessage(_) => {
            ("port does not speak TLS".to_owned(), "use http:// in the URL, or the port that expects TLS")
        }
        _ => (format!("TLS handshake failed: {error}"), "check the TLS settings and the log of the server"),
    };
    (format!("the server's {cause}"), advice)
}
