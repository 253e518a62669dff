//! HTTP/1.1 connections to the receiver, without a pool: `--connections` is the exact number of connections.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::response::ReceiverResponse;
use super::target::Target;
use crate::error::CliError;

/// A longer response body is not read to its end, and its connection is not reused.
const MAX_RESPONSE_BODY: usize = 64 * 1024;

/// An attempt without a response, with a short description under which such attempts are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TransportError(pub(crate) String);

/// Opens connections to one receiver and sends deliveries over them.
pub(crate) struct Client {
    target: Target,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

/// The request of a delivery, the same in each attempt.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// Without `Host` and `Content-Length`, which are set per connection.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) type Connection = SendRequest<Full<Bytes>>;

impl Client {
    pub(crate) fn new(target: Target, timeout: Duration) -> Result<Self, CliError> {
        let tls = if target.https { Some((tls_connector()?, server_name(&target)?)) } else { None };
        Ok(Self { target, tls, timeout })
    }

    /// Opens a connection before anything is sent. The error tells the user what to check.
    pub(crate) async fn open(&self) -> Result<Connection, CliError> {
        self.with_timeout(self.connect()).await.map_err(|TransportError(cause)| {
            CliError::failed(format!(
                "cannot connect to {}: {cause}; check that the receiver is running, and the scheme, host and port of \
                 the URL",
                self.target.address()
            ))
        })
    }

    /// Makes one attempt, over `connection` if it is still open, or else over a new connection.
    pub(crate) async fn deliver(
        &self,
        connection: &mut Option<Connection>,
        outgoing: &Outgoing,
    ) -> Result<ReceiverResponse, TransportError> {
        let result = self.with_timeout(self.exchange(connection, outgoing)).await;
        if result.is_err() {
            *connection = None;
        }
        result
    }

    async fn exchange(
        &self,
        slot: &mut Option<Connection>,
        outgoing: &Outgoing,
    ) -> Result<ReceiverResponse, TransportError> {
        if let Some(mut reused) = slot.take()
            && reused.ready().await.is_ok()
        {
            match reused.try_send_request(self.request(outgoing)).await {
                Ok(response) => return read_response(slot, reused, response).await,
                // The receiver closed the idle connection and nothing was written: use a new one.
                Err(mut error) => {
                    if error.take_message().is_none() {
                        return Err(http_error(error.error()));
                    }
                }
            }
        }
        let mut new = self.connect().await?;
        let response = new.send_request(self.request(outgoing)).await.map_err(|error| http_error(&error))?;
        read_response(slot, new, response).await
    }

    fn request(&self, outgoing: &Outgoing) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(outgoing.body.clone()));
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = self.target.path.clone().into();
        *request.headers_mut() = outgoing.headers.clone();
        request.headers_mut().insert(header::HOST, self.target.authority.clone());
        request
    }

    async fn connect(&self) -> Result<Connection, TransportError> {
        let stream = TcpStream::connect((self.target.host.as_str(), self.target.port))
            .await
            .map_err(|error| io_error(&error))?;
        stream.set_nodelay(true).map_err(|error| io_error(&error))?;
        match &self.tls {
            None => handshake(stream).await,
            Some((connector, name)) => {
                handshake(connector.connect(name.clone(), stream).await.map_err(|error| io_error(&error))?)
                    .await
            }
        }
    }

    async fn with_timeout<T>(
        &self,
        attempt: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        tokio::time::timeout(self.timeout, attempt).await.unwrap_or_else(|_| {
            Err(TransportError(format!("no response within {} s", self.timeout.as_secs_f64())))
        })
    }
}

async fn handshake<S>(stream: S) -> Result<Connection, TransportError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| http_error(&error))?;
    // The request in flight reports the error of the connection.
    tokio::spawn(connection);
    Ok(sender)
}

/// Reads the response and puts the connection into the slot for the next delivery.
async fn read_response(
    slot: &mut Option<Connection>,
    connection: Connection,
    response: Response<Incoming>,
) -> Result<ReceiverResponse, TransportError> {
    let (head, mut body) = response.into_parts();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| http_error(&error))?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > MAX_RESPONSE_BODY {
            return Ok(ReceiverResponse::new(&head, &bytes, SystemTime::now()));
        }
    }
    *slot = Some(connection);
    Ok(ReceiverResponse::new(&head, &bytes, SystemTime::now()))
}

fn tls_connector() -> Result<TlsConnector, CliError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(CliError::failed(
            "found no certificate authorities on this system: install ca-certificates, or set SSL_CERT_FILE",
        ));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| CliError::failed(format!("cannot use TLS: {error}; use an http:// URL")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server_name(target: &Target) -> Result<ServerName<'static>, CliError> {
    ServerName::try_from(target.host.clone()).map_err(|_| {
        CliError::usage(format!(
            "invalid host {:?} for https: a certificate cannot contain this name; use a DNS name or an IP address",
            target.host
        ))
    })
}

fn io_error(error: &io::Error) -> TransportError {
    TransportError(match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => error.to_string(),
    })
}

fn http_error(error: &hyper::Error) -> TransportError {
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    TransportError(match io.map(io::Error::kind) {
        _ if error.is_incomplete_message() => "connection closed before the response".to_owned(),
        Some(io::ErrorKind::ConnectionReset) => "connection reset".to_owned(),
        Some(io::ErrorKind::BrokenPipe) => "connection closed while sending the request".to_owned(),
        _ => error.to_string(),
    })
}
