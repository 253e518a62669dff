//! Passes deliveries on to a receiver.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body_util::Full;

use crate::args::ConnectArgs;
use crate::client::{
    Client, Connection, ExtraHeaders, Outgoing, Target, TransportError, remove_connection_headers,
};
use crate::error::CliError;
use crate::saved_delivery::SavedDelivery;

/// A longer response is not passed back to the sender.
const MAX_RESPONSE_BODY: usize = 1024 * 1024;

/// Sends deliveries to one receiver, over connections that are kept open.
pub(super) struct Forwarder {
    client: Client,
    headers: ExtraHeaders,
    idle: Mutex<Vec<Connection>>,
}

/// The result of passing a delivery on.
#[derive(Debug)]
pub(super) enum Forwarded {
    /// The receiver answered after this time.
    Answered(Duration),
    /// It did not, for this cause.
    Failed(String),
}

/// The answer of the receiver.
pub(super) struct ReceiverAnswer {
    pub(super) response: Response<Full<Bytes>>,
    /// From sending to the end of the response.
    pub(super) elapsed: Duration,
}

impl Forwarder {
    /// `own_address` is that of this command, to which it must not forward.
    pub(super) fn new(url: &str, args: &ConnectArgs, own_address: SocketAddr) -> Result<Self, CliError> {
        let target = Target::parse(url)?;
        if target.is_local_address(own_address) {
            return Err(CliError::usage(format!(
                "--forward {} is the address that this command listens on: name the receiver's port, or listen on another \
                 one with --listen",
                target.address()
            )));
        }
        let headers = ExtraHeaders::parse(&args.header)?;
        let client = Client::new(target, args.timeout, args.cacert.as_deref())?;
        Ok(Self { client, headers, idle: Mutex::default() })
    }

    /// Host and port of the receiver, for messages.
    pub(super) fn address(&self) -> String {
        self.client.address()
    }

    /// Sends the body and the received headers, without those of the sender's connection.
    pub(super) async fn forward(
        &self,
        delivery: &SavedDelivery,
        headers: &HeaderMap,
    ) -> Result<ReceiverAnswer, TransportError> {
        let mut headers = headers.clone();
        remove_connection_headers(&mut headers);
        headers.remove(header::HOST);
        self.headers.apply(&mut headers);
        let outgoing = Outgoing { method: delivery.method.clone(), headers, body: delivery.body.clone() };
        let started = Instant::now();
        let mut connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let response = self.client.request(&mut connection, &outgoing, MAX_RESPONSE_BODY).await?;
        let elapsed = started.elapsed();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(connection);
        if response.is_truncated {
            return Err(TransportError::new(
                "the response is larger than 1 MiB",
                "check the receiver's response",
            ));
        }
        let mut head = response.head;
        remove_connection_headers(&mut head.headers);
        let mut answer = Response::new(Full::new(response.body));
        *answer.status_mut() = head.status;
        *answer.headers_mut() = head.headers;
        Ok(ReceiverAnswer { response: answer, elapsed })
    }
}
