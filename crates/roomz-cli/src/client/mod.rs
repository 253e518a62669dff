//! An HTTP/1.1 client for one receiver, with plain errors. `send`, `replay` and `listen --forward` use it.

mod headers;
mod proxy;
mod transport_error;
mod url;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use reqwest::redirect::Policy;
use reqwest::{Body, Certificate, Request, Url};

pub(crate) use self::headers::{event_headers, parse_headers, remove_connection_headers, user_agent};
pub(crate) use self::proxy::PROXY_ADVICE;
use self::proxy::find_proxy;
pub(crate) use self::transport_error::TransportError;
pub(crate) use self::url::{is_loopback, leads_to, parse_url};
use crate::args::ConnectArgs;
use crate::input::is_utf_16;

/// Sends requests to one receiver, over connections that are kept open.
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
    /// Host and port of the proxy to the URL.
    proxy: Option<String>,
    timeout: Duration,
}

/// The request of a delivery, a POST, the same in each attempt.
pub(crate) struct Outgoing {
    /// Without `Content-Length`, which is set per request. Without `Host`, the host of the URL is used.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    /// Reads the certificates of `--cacert`, also for a URL that does not need them, so that a wrong file is
    /// noticed. Keeps up to `max_idle` connections open.
    pub(crate) fn new(url: Url, args: &ConnectArgs, max_idle: usize) -> Result<Self> {
        let (file, timeout) = (args.cacert.as_deref(), args.timeout);
        let certificates = file.map(read_certificates).transpose()?.unwrap_or_default();
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .redirect(Policy::none())
            .timeout(timeout)
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(max_idle);
        builder = if url.scheme() == "https" {
            builder.tls_certs_merge(certificates)
        } else {
            // The certificates of the system, which may be missing, are not needed.
            builder.tls_certs_only(certificates)
        };
        let mut proxy = None;
        if is_loopback(&url) {
            builder = builder.no_proxy();
        } else {
            proxy = find_proxy(&url)?;
        }
        let http = builder.build().map_err(|error| match file {
            Some(file) => cacert_error(file, error),
            None => anyhow!(
                "found no certificate authorities on this system: install ca-certificates, set SSL_CERT_FILE, or name the \
                 receiver's authority with --cacert FILE"
            ),
        })?;
        Ok(Self { http, url, proxy, timeout })
    }

    /// Host and port of the receiver, for messages.
    pub(crate) fn address(&self) -> &str {
        self.url.authority()
    }

    /// Makes one attempt. A body of more than `max_body` bytes is not read to its end.
    pub(crate) async fn request(
        &self,
        outgoing: &Outgoing,
        max_body: usize,
    ) -> Result<Response<Bytes>, TransportError> {
        let Outgoing { headers, body } = outgoing;
        self.request_as(Method::POST, headers, body.clone().into(), max_body).await
    }

    /// Like [`request`](Self::request), with any method and body.
    pub(crate) async fn request_as(
        &self,
        method: Method,
        headers: &HeaderMap,
        body: Body,
        max_body: usize,
    ) -> Result<Response<Bytes>, TransportError> {
        let mut request = Request::new(method, self.url.clone());
        *request.headers_mut() = headers.clone();
        *request.body_mut() = Some(body);
        let to_error =
            |error: reqwest::Error| TransportError::new(&error, self.timeout, self.proxy.as_deref());
        self.exchange(request, max_body).await.map_err(to_error)
    }

    async fn exchange(&self, request: Request, max_body: usize) -> reqwest::Result<Response<Bytes>> {
        let mut received = self.http.execute(request).await?;
        let mut body = Vec::new();
        while body.len() <= max_body
            && let Some(chunk) = received.chunk().await?
        {
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(body.into());
        *response.status_mut() = received.status();
        *response.version_mut() = received.version();
        *response.headers_mut() = std::mem::take(received.headers_mut());
        *response.extensions_mut() = std::mem::take(received.extensions_mut());
        Ok(response)
    }
}

fn read_certificates(file: &Path) -> Result<Vec<Certificate>> {
    let pem = std::fs::read(file).map_err(|error| {
        anyhow!(
            "cannot use --cacert {}: {error}; check that the file exists and that this user can read it",
            file.display()
        )
    })?;
    anyhow::ensure!(
        !is_utf_16(&pem),
        "cannot use --cacert {}: it is UTF-16; save it as UTF-8",
        file.display()
    );
    // The parser does not find a line that begins with a byte order mark.
    let pem = String::from_utf8_lossy(&pem).replace('\u{feff}', "");
    let certificates =
        Certificate::from_pem_bundle(pem.as_bytes()).map_err(|error| cacert_error(file, error))?;
    anyhow::ensure!(
        !certificates.is_empty(),
        "cannot use --cacert {}: it contains no certificate in PEM, which begins with the line -----BEGIN CERTIFICATE-----",
        file.display()
    );
    Ok(certificates)
}

fn cacert_error(file: &Path, error: reqwest::Error) -> anyhow::Error {
    let cause = anyhow::Error::new(error);
    anyhow!(
        "cannot use --cacert {}: a certificate is damaged ({}); copy the file again, unchanged",
        file.display(),
        cause.root_cause()
    )
}
