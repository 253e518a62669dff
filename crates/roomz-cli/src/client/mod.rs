//! An HTTP client for one receiver, with plain errors.

mod headers;
mod response;
mod transport_error;
mod url;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::{HeaderMap, Method, Response};
use reqwest::redirect::Policy;
use reqwest::{Body, Certificate, Request, Url};

pub(crate) use self::headers::{event_headers, parse_headers, remove_connection_headers, user_agent};
pub(crate) use self::response::ReceiverResponse;
pub(crate) use self::transport_error::{PROXY_ADVICE, TransportError};
pub(crate) use self::url::{is_loopback, leads_to, parse_url};
use crate::args::ConnectArgs;
use crate::input;

/// A longer body is not read to its end, and its connection is not reused.
pub(crate) const MAX_RESPONSE_BODY: usize = 1024 * 1024;

const DAMAGED: &str = "a certificate is damaged; copy the file again, unchanged";

/// Sends requests to one receiver, over connections that are kept open.
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
    timeout: Duration,
}

impl Client {
    /// Reads the certificates of `--cacert`, also for a URL that does not need them, so that a wrong file is
    /// noticed. Keeps up to `max_idle` connections open. With `http2`, the server chooses the version of HTTP
    /// during the TLS handshake; otherwise it is HTTP/1.1.
    pub(crate) fn new(url: Url, args: &ConnectArgs, max_idle: usize, http2: bool) -> Result<Self> {
        let unusable = |file: &Path| format!("cannot use --cacert {}", file.display());
        let certificates = match &args.cacert {
            Some(file) => read_certificates(file).with_context(|| unusable(file))?,
            None => Vec::new(),
        };
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .timeout(args.timeout)
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(max_idle);
        if !http2 {
            builder = builder.http1_only();
        }
        builder = if url.scheme() == "https" {
            builder.tls_certs_merge(certificates)
        } else {
            // The certificates of the system, which may be missing, are not needed.
            builder.tls_certs_only(certificates)
        };
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let http = builder.build().with_context(|| match &args.cacert {
            Some(file) => format!("{}: {DAMAGED}", unusable(file)),
            None => "found no certificate authorities on this system: install ca-certificates, set SSL_CERT_FILE, or name the \
                     receiver's authority with --cacert FILE"
                .to_owned(),
        })?;
        Ok(Self { http, url, timeout: args.timeout })
    }

    /// Host and port of the receiver, for messages.
    pub(crate) fn address(&self) -> &str {
        self.url.authority()
    }

    /// Makes one attempt.
    pub(crate) async fn request(
        &self,
        method: Method,
        headers: &HeaderMap,
        body: impl Into<Body>,
    ) -> Result<ReceiverResponse, TransportError> {
        let mut request = Request::new(method, self.url.clone());
        *request.headers_mut() = headers.clone();
        *request.body_mut() = Some(body.into());
        let exchange = async {
            let mut received = self.http.execute(request).await?;
            let mut body = Vec::new();
            while body.len() <= MAX_RESPONSE_BODY
                && let Some(chunk) = received.chunk().await?
            {
                body.extend_from_slice(&chunk);
            }
            Ok(ReceiverResponse::new(Response::from(received).map(|_| body.into())))
        };
        exchange.await.map_err(|error| TransportError::new(&error, self.timeout))
    }
}

fn read_certificates(file: &Path) -> Result<Vec<Certificate>> {
    let pem = input::read(Some(file))?;
    // Files that were joined may contain several byte order marks.
    let pem = String::from_utf8_lossy(&pem).replace('\u{feff}', "");
    let certificates = Certificate::from_pem_bundle(pem.as_bytes()).context(DAMAGED)?;
    ensure!(!certificates.is_empty(), "it contains no certificate in PEM (-----BEGIN CERTIFICATE-----)");
    Ok(certificates)
}
