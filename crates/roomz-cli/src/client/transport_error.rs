use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::Duration;

use rustls::{CertificateError, OtherError};

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
    let problem = match error {
        rustls::Error::InvalidCertificate(problem) => problem,
        rustls::Error::InvalidMessage(_) => {
            let cause = "the server does not speak TLS".to_owned();
            return (cause, "use http:// in the URL, or the port that expects TLS");
        }
        _ => {
            let cause = format!("the TLS handshake failed: {error}");
            return (cause, "check the TLS settings and the log of the server");
        }
    };
    let cause = match problem {
        CertificateError::UnknownIssuer => "from an unknown authority".to_owned(),
        // rustls has no variant for this error of WebPKI.
        CertificateError::Other(OtherError(other)) if other.to_string() == "CaUsedAsEndEntity" => {
            "that of an authority".to_owned()
        }
        problem => format!("invalid: {problem}"),
    };
    let advice = match problem {
        CertificateError::Other(_) if !cause.starts_with("invalid") => {
            "create it with `-addext basicConstraints=critical,CA:FALSE`"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "use a host of the certificate in the URL, or issue a certificate for this host"
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => "renew it, or correct the clock of this machine",
        // The system may trust another certificate with the same name.
        _ => {
            "to trust it, name the certificate of its authority, or its own if it is self-signed, with --cacert FILE"
        }
    };
    (format!("the server's certificate is {cause}"), advice)
}
