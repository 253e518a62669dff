//! Reads the PEM file of `--cacert`. Its errors name the line.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use crate::error::CliError;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Reads all certificates of the file, at least one.
pub(super) fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, CliError> {
    let fail =
        |problem: String| CliError::failed(format!("cannot use --cacert {}: {problem}", file.display()));
    let bytes = fs::read(file).map_err(|error| {
        fail(format!("{error}; check that the file exists and that this user can read it"))
    })?;
    parse(&bytes).map_err(fail)
}

fn parse(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    if bytes.starts_with(&[0x30, 0x82]) {
        return Err("it is DER and not PEM; convert it with `openssl x509 -inform der`".to_owned());
    }
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().map(str::trim).enumerate().map(|(index, line)| (index + 1, line));
    let mut certificates = Vec::new();
    while let Some((begin, _)) = lines.find(|(_, line)| *line == BEGIN) {
        let mut base64 = String::new();
        loop {
            match lines.next() {
                Some((_, END)) => break,
                Some((number, line)) if line.starts_with("-----") => {
                    return Err(format!("line {number} should be {END}; copy the whole certificate"));
                }
                Some((_, line)) => base64.push_str(line),
                None => {
                    return Err(format!(
                        "the certificate that begins in line {begin} has no end; copy it up to {END}"
                    ));
                }
            }
        }
        let certificate = STANDARD.decode(&base64).ok().map(CertificateDer::from);
        // The store accepts only what can be the certificate of an authority.
        let certificate = certificate
            .filter(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok())
            .ok_or_else(|| {
                format!("the certificate that begins in line {begin} is damaged; copy it again, unchanged")
            })?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err(nothing_found(&text));
    }
    Ok(certificates)
}

fn nothing_found(text: &str) -> String {
    if text.trim().is_empty() {
        "it is empty; it must contain a certificate in PEM".to_owned()
    } else if text.contains("PRIVATE KEY-----") {
        "it contains a private key and no certificate; name the file of the certificate".to_owned()
    } else {
        format!("it contains no certificate in PEM, which begins with the line {BEGIN}")
    }
}
