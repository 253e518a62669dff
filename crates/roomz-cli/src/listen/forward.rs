//! Passes deliveries on to a receiver.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, header};

use crate::args::ConnectArgs;
use crate::client::{
    Client, Outgoing, TransportError, leads_to, parse_headers, parse_url, remove_connection_headers,
};
use crate::error::usage;
use crate::saved_delivery::SavedDelivery;

/// A longer response is not passed back to the sender.
const MAX_RESPONSE_BODY: usize = 1024 * 1024;

/// Sends deliveries to one receiver, each on a new connection: the receiver may close an idle one at the
/// moment of the next delivery, which would then be lost or sent twice.
pub(super) struct Forwarder {
    client: Client,
    headers: HeaderMap,
}

/// The result of passing a delivery on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Forwarded {
    /// The receiver answered after this time.
    Answered(Duration),
    Failed,
}

impl Forwarder {
    /// `own_address` is that of this command, to which it must not forward.
    pub(super) fn new(url: &str, args: &ConnectArgs, own_address: SocketAddr) -> Result<Self> {
        let url = parse_url(url)?;
        if leads_to(&url, own_address) {
            return Err(usage(format!(
                "--forward {} is the address that this command listens on: name the receiver's port, or listen on another \
                 one with --listen",
                url.authority()
            )));
        }
        let headers = parse_headers(&args.header)?;
        Ok(Self { client: Client::new(url, args, 0)?, headers })
    }

    /// Host and port of the receiver, for messages.
    pub(super) fn address(&self) -> &str {
        self.client.address()
    }

    /// Sends the body and the received headers, without those of the sender's connection. Returns the
    /// receiver's answer and the time from sending to its end.
    pub(super) async fn forward(
        &self,
        delivery: &SavedDelivery,
        mut headers: HeaderMap,
    ) -> Result<(Response, Duration), TransportError> {
        remove_connection_headers(&mut headers);
        headers.remove(header::HOST);
        headers.extend(self.headers.clone());
        let outgoing = Outgoing { headers, body: delivery.body.clone() };
        let started = Instant::now();
        let response = self.client.request(&outgoing, MAX_RESPONSE_BODY).await?;
        let elapsed = started.elapsed();
        if response.body().len() > MAX_RESPONSE_BODY {
            return Err(TransportError {
                cause: "the response is larger than 1 MiB".to_owned(),
                advice: "check the receiver's response",
                is_connect: false,
            });
        }
        let (mut head, body) = response.into_parts();
        remove_connection_headers(&mut head.headers);
        Ok((Response::from_parts(head, Body::from(body)), elapsed))
    }
}
