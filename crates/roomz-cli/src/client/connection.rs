//! HTTP/1.1 connections to the receiver, without a pool: `--connections` is the exact number of connections.

use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::io_error::{connect_error, http_error};
use super::target::Target;
use super::tls;
use super::transport_error::TransportError;
use crate::error::CliError;

/// Opens connections to one receiver and sends requests over them.
pub(crate) struct Client {
    target: Target,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

/// The request of a delivery, the same in each attempt.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// Without `Content-Length`, which is set per request. Without `Host`, the host of the URL is used.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A response with its body.
#[derive(Debug)]
pub(crate) struct RawResponse {
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
    /// Whether the body is longer than the limit: the rest was not read.
    pub(crate) is_truncated: bool,
}

pub(crate) type Connection = SendRequest<Full<Bytes>>;

impl Client {
    /// Reads the certificates of `ca_file`, also for a URL that does not need them, so that a wrong file is noticed.
    pub(crate) fn new(target: Target, timeout: Duration, ca_file: Option<&Path>) -> Result<Self, CliError> {
        let tls = if target.https || ca_file.is_some() {
            Some((tls::connector(ca_file)?, server_name(&target)?))
        } else {
            None
        };
        let tls = tls.filter(|_| target.https);
        Ok(Self { target, tls, timeout })
    }

    /// Host and port of the receiver, for messages.
    pub(crate) fn address(&self) -> String {
        self.target.address()
    }

    /// Opens a connection before anything is sent. The error tells the user what to check.
    pub(crate) async fn open(&self) -> Result<Connection, CliError> {
        self.with_timeout(self.connect()).await.map_err(|TransportError { cause, advice }| {
            CliError::failed(format!("cannot connect to {}: {cause}; {advice}", self.address()))
        })
    }

    /// Makes one attempt, over `connection` if it is still open, or else over a new connection. Reads at most
    /// `max_body` bytes of the response and one frame more; the connection of a longer response is not reused.
    pub(crate) async fn request(
        &self,
        connection: &mut Option<Connection>,
        outgoing: &Outgoing,
        max_body: usize,
    ) -> Result<RawResponse, TransportError> {
        let result = self.with_timeout(self.exchange(connection, outgoing, max_body)).await;
        if result.is_err() {
            *connection = None;
        }
        result
    }

    async fn exchange(
        &self,
        slot: &mut Option<Connection>,
        outgoing: &Outgoing,
        max_body: usize,
    ) -> Result<RawResponse, TransportError> {
        if let Some(mut reused) = slot.take()
            && reused.ready().await.is_ok()
        {
            match reused.try_send_request(self.build(outgoing)).await {
                Ok(response) => return read_response(slot, reused, response, max_body).await,
                // The receiver closed the idle connection and nothing was written: use a new one.
                Err(mut error) => {
                    if error.take_message().is_none() {
                        return Err(http_error(error.error()));
                    }
                }
            }
        }
        let mut new = self.connect().await?;
        let response = new.send_request(self.build(outgoing)).await;
        read_response(slot, new, response.map_err(|error| http_error(&error))?, max_body).await
    }

    fn build(&self, outgoing: &Outgoing) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(outgoing.body.clone()));
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = self.target.path.clone().into();
        *request.headers_mut() = outgoing.headers.clone();
        request.headers_mut().entry(header::HOST).or_insert_with(|| self.target.authority.clone());
        request
    }

    async fn connect(&self) -> Result<Connection, TransportError> {
        let host = self.target.host.as_str();
        let addresses: Vec<_> = tokio::net::lookup_host((host, self.target.port))
            .await
            .map_err(|_| TransportError::unknown_host(host))?
            .collect();
        let stream = TcpStream::connect(&addresses[..]).await.map_err(|error| connect_error(&error))?;
        stream.set_nodelay(true).map_err(|error| connect_error(&error))?;
        match &self.tls {
            None => handshake(stream).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                handshake(stream.map_err(|error| connect_error(&error))?).await
            }
        }
    }

    async fn with_timeout<T>(
        &self,
        attempt: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        tokio::time::timeout(self.timeout, attempt)
            .await
            .unwrap_or_else(|_| Err(TransportError::timeout(self.timeout.as_secs_f64())))
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

/// Reads the response and puts the connection into the slot for the next request.
async fn read_response(
    slot: &mut Option<Connection>,
    connection: Connection,
    response: Response<Incoming>,
    max_body: usize,
) -> Result<RawResponse, TransportError> {
    let (head, mut body) = response.into_parts();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| http_error(&error))?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > max_body {
            return Ok(RawResponse { head, body: bytes.freeze(), is_truncated: true });
        }
    }
    *slot = Some(connection);
    Ok(RawResponse { head, body: bytes.freeze(), is_truncated: false })
}

fn server_name(target: &Target) -> Result<ServerName<'static>, CliError> {
    ServerName::try_from(target.host.clone()).map_err(|_| {
        CliError::usage(format!(
            "invalid host {:?} for https: a certificate cannot contain this name; use a DNS name or an IP address",
            target.host
        ))
    })
}
