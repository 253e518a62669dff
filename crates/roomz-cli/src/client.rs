//! One connection to a receiver. A connection is one HTTP/1.1 connection, as a sender without a pool has it: what
//! `--connections` says is what there is.

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

use crate::answer::Answer;
use crate::failure::Failure;
use crate::target::Target;

/// More of an answer is not read, and its connection not used again.
const LONGEST_ANSWER: usize = 64 * 1024;

/// A delivery was not answered: the short text under which such are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unanswered(pub(crate) String);

/// What makes connections to one receiver.
pub(crate) struct Client {
    target: Target,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

/// What is sent each time that a delivery is tried.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// Without `Host` and `Content-Length`.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) type Connection = SendRequest<Full<Bytes>>;

impl Client {
    pub(crate) fn new(target: Target, timeout: Duration) -> Result<Self, Failure> {
        let tls = if target.https { Some((connector()?, server_name(&target)?)) } else { None };
        Ok(Self { target, tls, timeout })
    }

    /// A first connection, to find out before anything is sent.
    pub(crate) async fn try_out(&self) -> Result<Connection, Failure> {
        self.in_time(self.connect()).await.map_err(|Unanswered(why)| {
            Failure::failed(format!(
                "cannot connect to {}: {why}; see that the receiver runs, and that scheme, host and port of the URL are \
                 right",
                self.target.place()
            ))
        })
    }

    /// Delivers once over this connection, or a new one where there is none or it has ended.
    pub(crate) async fn deliver(
        &self,
        connection: &mut Option<Connection>,
        outgoing: &Outgoing,
    ) -> Result<Answer, Unanswered> {
        let result = self.in_time(self.exchange(connection, outgoing)).await;
        if result.is_err() {
            *connection = None;
        }
        result
    }

    async fn exchange(
        &self,
        slot: &mut Option<Connection>,
        outgoing: &Outgoing,
    ) -> Result<Answer, Unanswered> {
        if let Some(mut used) = slot.take()
            && used.ready().await.is_ok()
        {
            match used.try_send_request(self.request(outgoing)).await {
                Ok(response) => return finish(slot, used, response).await,
                // The receiver closed it in the meantime, and nothing of the request was written.
                Err(mut error) => {
                    if error.take_message().is_none() {
                        return Err(broken(error.error()));
                    }
                }
            }
        }
        let mut fresh = self.connect().await?;
        let response = fresh.send_request(self.request(outgoing)).await.map_err(|error| broken(&error))?;
        finish(slot, fresh, response).await
    }

    fn request(&self, outgoing: &Outgoing) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(outgoing.body.clone()));
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = self.target.path.clone().into();
        *request.headers_mut() = outgoing.headers.clone();
        request.headers_mut().insert(header::HOST, self.target.authority.clone());
        request
    }

    async fn connect(&self) -> Result<Connection, Unanswered> {
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

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Unanswered>>) -> Result<T, Unanswered> {
        tokio::time::timeout(self.timeout, work)
            .await
            .unwrap_or_else(|_| Err(Unanswered(format!("no answer within {} s", self.timeout.as_secs_f64()))))
    }
}

async fn handshake<S>(stream: S) -> Result<Connection, Unanswered>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    // How it ends is told by the request that was under way.
    tokio::spawn(connection);
    Ok(sender)
}

async fn finish(
    slot: &mut Option<Connection>,
    connection: Connection,
    response: Response<Incoming>,
) -> Result<Answer, Unanswered> {
    let (head, mut body) = response.into_parts();
    let mut text = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() {
            text.extend_from_slice(&data);
        }
        if text.len() > LONGEST_ANSWER {
            return Ok(Answer::read(&head, &text, SystemTime::now()));
        }
    }
    *slot = Some(connection);
    Ok(Answer::read(&head, &text, SystemTime::now()))
}

fn connector() -> Result<TlsConnector, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Failure::failed(
            "there are no certificate authorities on this system: install ca-certificates, or set SSL_CERT_FILE",
        ));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::failed(format!("cannot use TLS: {error}; use an http:// URL")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server_name(target: &Target) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(target.host.clone()).map_err(|_| {
        Failure::usage(format!(
            "the host {:?} of the URL is no name that a certificate can have",
            target.host
        ))
    })
}

fn io_error(error: &io::Error) -> Unanswered {
    Unanswered(match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => error.to_string(),
    })
}

fn broken(error: &hyper::Error) -> Unanswered {
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    Unanswered(match io.map(io::Error::kind) {
        _ if error.is_incomplete_message() => "connection closed before the answer".to_owned(),
        Some(io::ErrorKind::ConnectionReset) => "connection reset".to_owned(),
        Some(io::ErrorKind::BrokenPipe) => "connection closed while the request was written".to_owned(),
        _ => error.to_string(),
    })
}
