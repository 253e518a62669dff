//! Passes deliveries on to a receiver.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, header};
use hyper_util::client::legacy::connect::HttpInfo;

use crate::args::ConnectArgs;
use crate::client::{
    Client, Outgoing, TransportError, leads_to, parse_headers, parse_url, remove_connection_headers,
};
use crate::error::usage;
use crate::saved_delivery::SavedDelivery;

/// A longer response is not passed back to the sender.
const MAX_RESPONSE_BODY: usize = 1024 * 1024;

/// Sends deliveries to one receiver.
pub(super) struct Forwarder {
    client: Client,
    /// Opens a connection for each request.
    retry_client: Client,
    /// The local addresses of connections of `client` that answered a request.
    used_connections: Mutex<HashSet<SocketAddr>>,
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
        let retry_client = Client::new(url.clone(), args, 0)?;
        let client = Client::new(url, args, usize::MAX)?;
        Ok(Self { client, retry_client, used_connections: Mutex::default(), headers })
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
        let response = self.request(&outgoing).await?;
        let elapsed = started.elapsed();
        if response.body().len() > MAX_RESPONSE_BODY {
            return Err(TransportError {
                cause: "the response is larger than 1 MiB".to_owned(),
                advice: "check the receiver's response",
                is_connect: false,
                ended: None,
            });
        }
        let (mut head, body) = response.into_parts();
        remove_connection_headers(&mut head.headers);
        Ok((Response::from_parts(head, Body::from(body)), elapsed))
    }

    /// Retries once if a connection ended that had answered before: most likely the receiver closed it while
    /// it was idle.
    async fn request(&self, outgoing: &Outgoing) -> Result<http::Response<Bytes>, TransportError> {
        let used = || self.used_connections.lock().unwrap_or_else(PoisonError::into_inner);
        match self.client.request(outgoing, MAX_RESPONSE_BODY).await {
            Ok(response) => {
                used().extend(response.extensions().get().map(HttpInfo::local_addr));
                Ok(response)
            }
            Err(error) if error.ended.is_some_and(|connection| used().remove(&connection)) => {
                self.retry_client.request(outgoing, MAX_RESPONSE_BODY).await
            }
            Err(error) => Err(error),
        }
    }
}
