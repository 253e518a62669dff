//! TLS with the certificate verifier of the platform.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio_rustls::TlsConnector;

use super::ca_file;
use crate::error::CliError;

/// Trusts the authorities of the system and the certificates in `ca_file`.
pub(super) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, CliError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = ReceiverVerifier::new(ca_file, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| CliError::failed(format!("cannot use TLS: {error}; use an http:// URL")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The verifier of the platform, which also accepts the certificates of `--cacert` as the server's own.
///
/// `openssl req -x509` makes a certificate that is self-signed and an authority. WebPKI, the verifier on Linux, rejects
/// an authority as the certificate of a server, while curl accepts it.
#[derive(Debug)]
struct ReceiverVerifier {
    platform: Verifier,
    trusted: Vec<CertificateDer<'static>>,
}

impl ReceiverVerifier {
    fn new(ca_file: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Self, CliError> {
        let trusted = ca_file.map(ca_file::read).transpose()?.unwrap_or_default();
        let platform = Verifier::new_with_extra_roots(trusted.iter().cloned(), Arc::clone(provider));
        let platform = platform.map_err(|_| {
            CliError::failed(
                "found no certificate authorities on this system: install ca-certificates, set SSL_CERT_FILE, or name \
                 the receiver's authority with --cacert FILE",
            )
        })?;
        Ok(Self { platform, trusted })
    }
}

impl ServerCertVerifier for ReceiverVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.platform.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The platform has checked the period of validity before it looks for the issuer.
            Err(Error::InvalidCertificate(error))
                if (error == CertificateError::UnknownIssuer || is_authority_as_server(&error))
                    && self.trusted.iter().any(|trusted| trusted.as_ref() == end_entity.as_ref()) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.platform.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.platform.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.platform.supported_verify_schemes()
    }
}

/// Whether the certificate was rejected because it is an authority. rustls has no variant for this error of WebPKI.
pub(super) fn is_authority_as_server(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if other.0.to_string() == "CaUsedAsEndEntity")
}
