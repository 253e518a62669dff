//! The certificate and its key, from two files that are looked at again while the server runs.
//!
//! What is compared is what the files hold: whoever renews them may write, rename or link, and need not signal. A
//! pair that cannot be used, such as a new certificate whose key is not written yet, leaves the old one in place.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// How often the files are looked at.
const PERIOD: Duration = Duration::from_secs(60);

/// What the server asks for each new connection.
pub type Current = watch::Receiver<Arc<ServerConfig>>;

/// The two files, and the certificate that is served.
pub struct Renewal {
    certificate: PathBuf,
    key: PathBuf,
    /// What the files held when they were last looked at, or why they could not be read.
    seen: Result<Pem, String>,
    current: watch::Sender<Arc<ServerConfig>>,
}

impl Renewal {
    /// Reads both files: the chain with the server's own certificate first, and the key of that one.
    ///
    /// Fails when they cannot be used, in one line that names the file.
    pub fn load(certificate: &Path, key: &Path) -> Result<(Self, Current), Box<dyn Error>> {
        let pem = Pem::read(certificate, key)?;
        let (current, receiver) = watch::channel(pem.config(certificate, key)?);
        let files = (certificate.to_owned(), key.to_owned());
        Ok((Self { certificate: files.0, key: files.1, seen: Ok(pem), current }, receiver))
    }

    /// Looks at the files every minute, for as long as the server runs.
    pub async fn watch(mut self) {
        loop {
            tokio::time::sleep(PERIOD).await;
            // Files may be on a disk that makes one wait.
            let looked = tokio::task::spawn_blocking(move || {
                self.look_again();
                self
            });
            match looked.await {
                Ok(renewal) => self = renewal,
                Err(error) => return tracing::error!("the certificate is not looked at any more: {error}"),
            }
        }
    }

    /// Looks at the files: a new pair is served to new connections, and one that cannot be used is said once.
    pub fn look_again(&mut self) {
        let found = Pem::read(&self.certificate, &self.key);
        if found == self.seen {
            return;
        }
        let config = match &found {
            Ok(pem) => pem.config(&self.certificate, &self.key),
            Err(error) => Err(error.clone()),
        };
        self.seen = found;
        match config {
            Ok(config) => {
                self.current.send_replace(config);
                tracing::info!("the certificate was read again, and is served from now on");
            }
            Err(error) => tracing::error!("the old certificate is kept: {error}"),
        }
    }
}

/// What the two files hold.
#[derive(PartialEq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pem {
    fn read(certificate: &Path, key: &Path) -> Result<Self, String> {
        let read = |variable, path: &Path| {
            std::fs::read(path)
                .map_err(|error| format!("cannot read {path:?}: {error}; set {variable} to a PEM file"))
        };
        Ok(Self { certificate: read("CERTIFICATE", certificate)?, key: read("KEY", key)? })
    }

    fn config(&self, certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<_, _>>().map_err(|_| {
                format!("{certificate:?} is broken PEM; write the certificate and its chain again")
            })?;
        if chain.is_empty() {
            return Err(format!(
                "there is no certificate in {certificate:?}; CERTIFICATE must be the PEM file of the chain"
            ));
        }
        // Why not is left out: it might quote the key.
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| format!("there is no key in {key:?}; KEY must be a PEM file, not encrypted"))?;
        // Named, so that another TLS implementation elsewhere in the program changes nothing here.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private));
        let mut config = config.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                format!(
                    "{key:?} is not the key of the first certificate in {certificate:?}; set both to a pair"
                )
            }
            error => format!("{certificate:?} and {key:?} cannot be used: {error}; set both to a pair"),
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
