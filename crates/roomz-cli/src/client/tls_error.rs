//! Describes errors of the TLS handshake.

use std::io;

use roomz_protocol::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

use super::tls::is_authority_as_server;
use super::transport_error::TransportError;

const TRUST_IT: &str =
    "to trust it, name the certificate of its authority, or the server's own, with --cacert FILE";

/// The TLS error in an I/O error.
pub(super) fn find(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

pub(super) fn describe(error: &Error) -> TransportError {
    match error {
        Error::InvalidMessage(_) => TransportError::new(
            "the server does not speak TLS",
            "use http:// in the URL, or the port that expects TLS",
        ),
        Error::InvalidCertificate(error) => describe_certificate(error),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => TransportError::new(
            "the server has no certificate for this name",
            "check the host of the URL, and the certificates of the server",
        ),
        Error::AlertReceived(AlertDescription::CertificateRequired) => TransportError::new(
            "the server requires a client certificate",
            "a webhook must not require one: ROOMZ has none",
        ),
        Error::AlertReceived(alert) => TransportError::new(
            format!("the server ended the TLS handshake ({alert:?})"),
            "check the TLS settings and the log of the server",
        ),
        Error::PeerIncompatible(_) => TransportError::new(
            "the server supports no TLS version or cipher of this command",
            "enable TLS 1.2 or 1.3 at the server",
        ),
        _ => TransportError::new(
            format!("the TLS handshake failed ({error})"),
            "check the TLS settings and the log of the server",
        ),
    }
}

fn describe_certificate(error: &CertificateError) -> TransportError {
    let certificate = "the server's certificate";
    match error {
        CertificateError::UnknownIssuer => {
            TransportError::new(format!("{certificate} is from an unknown authority"), TRUST_IT)
        }
        error if is_authority_as_server(error) => {
            TransportError::new(format!("{certificate} is self-signed and not trusted"), TRUST_IT)
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            TransportError::new(format!("{certificate} expired at {}", format_time(*not_after)), "renew it")
        }
        CertificateError::Expired => TransportError::new(format!("{certificate} has expired"), "renew it"),
        CertificateError::NotValidYetContext { not_before, .. } => TransportError::new(
            format!("{certificate} is not valid before {}", format_time(*not_before)),
            "check the clocks of this machine and of the server",
        ),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| plain_name(name)).collect();
            let names = if names.is_empty() { "no host".to_owned() } else { names.join(", ") };
            TransportError::new(
                format!("{certificate} is for {names} and not for {}", expected.to_str()),
                "use a host of the certificate in the URL, or issue a certificate for this host",
            )
        }
        CertificateError::NotValidForName => TransportError::new(
            format!("{certificate} is not for the host of the URL"),
            "use a host of the certificate in the URL, or issue a certificate for this host",
        ),
        CertificateError::BadSignature => TransportError::new(
            format!("{certificate} was not signed with the key of its trusted authority"),
            "check that --cacert names the current certificate of the authority",
        ),
        CertificateError::Revoked => {
            TransportError::new(format!("{certificate} was revoked"), "issue a new one")
        }
        CertificateError::BadEncoding => {
            TransportError::new(format!("{certificate} is malformed"), "issue a new one")
        }
        error => TransportError::new(
            format!("{certificate} was rejected ({error})"),
            "check it with `openssl x509 -text`, and that it is for a server",
        ),
    }
}

/// The name in `DnsName("localhost")` or `IpAddress(127.0.0.1)`, as rustls lists the names of a certificate.
fn plain_name(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.map_or(name, |inner| inner.trim_matches('"'))
}

fn format_time(time: UnixTime) -> String {
    let milliseconds = i64::try_from(time.as_secs()).ok().and_then(|seconds| seconds.checked_mul(1_000));
    let timestamp = milliseconds.and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok());
    timestamp.map_or_else(|| "an unknown time".to_owned(), |timestamp| timestamp.to_string())
}
