//! The TLS certificate and its key, from two files that are checked every minute.
//!
//! A change is detected by comparing the contents, so the files can be written, renamed or linked, without a
//! signal. If the new files are not a valid pair, for example while only one of them is written, the old
//! certificate stays in use.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Time between two checks of the files.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The two files, and the configuration that the server uses.
pub struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
    /// The result of the last read, to detect changes and to log each error once.
    last_read: Result<Pem, String>,
    tls: RustlsConfig,
}

impl CertificateFiles {
    /// Reads both files: `certificate` holds the chain, the server's own certificate first; `key` holds its
    /// private key.
    ///
    /// # Errors
    ///
    /// A message that names the file, when a file cannot be read or the files are not a valid pair.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, String> {
        let pem = Pem::read(certificate, key)?;
        let tls = RustlsConfig::from_config(pem.server_config(certificate, key)?);
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), last_read: Ok(pem), tls })
    }

    /// Returns the configuration for the server. A reload changes it for new connections.
    pub fn tls(&self) -> RustlsConfig {
        self.tls.clone()
    }

    /// Checks the files every minute. The future never completes, unless a check panics.
    pub async fn watch(mut self) {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            // Reading a file can block.
            let check = tokio::task::spawn_blocking(move || {
                self.reload_if_changed();
                self
            });
            match check.await {
                Ok(files) => self = files,
                Err(error) => return tracing::error!(%error, "certificate reload stopped"),
            }
        }
    }

    /// Reads the files, and uses the new certificate if they changed. An error is logged once.
    pub fn reload_if_changed(&mut self) {
        let read = Pem::read(&self.certificate, &self.key);
        if read == self.last_read {
            return;
        }
        let config = match &read {
            Ok(pem) => pem.server_config(&self.certificate, &self.key),
            Err(error) => Err(error.clone()),
        };
        self.last_read = read;
        match config {
            Ok(config) => {
                self.tls.reload_from_config(config);
                tracing::info!("certificate reloaded");
            }
            Err(error) => tracing::error!(%error, "cannot reload the certificate; the old one stays in use"),
        }
    }
}

/// The contents of the two files.
#[derive(PartialEq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pem {
    fn read(certificate: &Path, key: &Path) -> Result<Self, String> {
        // The parser does not find a line that begins with a byte order mark, which Windows editors write.
        let read = |variable, path: &Path| {
            std::fs::read(path)
                .map(|pem| pem.strip_prefix("\u{feff}".as_bytes()).map(<[u8]>::to_vec).unwrap_or(pem))
                .map_err(|error| format!("cannot read {path:?}: {error}; set {variable} to a PEM file"))
        };
        Ok(Self { certificate: read("CERTIFICATE", certificate)?, key: read("KEY", key)? })
    }

    fn server_config(&self, certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<_, _>>().map_err(|_| {
                format!("{certificate:?} is not valid PEM; write the certificate and its chain again")
            })?;
        if chain.is_empty() {
            return Err(format!(
                "{certificate:?} contains no certificate; set CERTIFICATE to the PEM file of the chain"
            ));
        }
        // The parser's error is left out, because it could quote the key.
        let private_key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
            format!("{key:?} contains no private key; set KEY to a PEM file that is not encrypted")
        })?;
        // An explicit provider works even if another dependency enables a second one.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private_key));
        let mut config = config.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                format!(
                    "{key:?} is not the key of the first certificate in {certificate:?}; set both to a pair"
                )
            }
            error => format!("cannot use {certificate:?} and {key:?}: {error}; set both to a pair"),
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
