//! Passes deliveries on to a receiver.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, ensure};
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, StatusCode};

use crate::args::ConnectArgs;
use crate::client::{
    Client, MAX_RESPONSE_BODY, TransportError, leads_to, parse_headers, parse_url, remove_connection_headers,
};
use crate::error::usage;
use crate::output::{self, ERROR_STYLE};
use crate::saved_delivery::SavedDelivery;

/// Sends deliveries to one receiver, each on a new connection: the receiver may close an idle one at the
/// moment of the next delivery, which would then be lost or sent twice.
pub(super) struct Forwarder {
    client: Client,
    headers: HeaderMap,
}

impl Forwarder {
    /// `listener` is the address of this command, to which it must not forward.
    pub(super) fn new(url: &str, args: &ConnectArgs, listener: SocketAddr) -> Result<Self> {
        let (url, headers) = (parse_url(url)?, parse_headers(&args.header)?);
        let own = || usage(format!("--forward {} is where this command listens: change it", url.authority()));
        ensure!(!leads_to(&url, listener), own());
        Ok(Self { client: Client::new(url, args, 0, false)?, headers })
    }

    /// Sends the body and the received headers, without those of the sender's connection. Returns the
    /// receiver's answer, or 502 when there is none, and words for the terminal.
    pub(super) async fn forward(&self, delivery: &SavedDelivery, headers: HeaderMap) -> (Response, String) {
        let started = Instant::now();
        match self.request(delivery, headers).await {
            Ok(response) => {
                let (status, time) = (response.status().as_u16(), started.elapsed());
                (response, format!("the receiver answered {status} in {time:.2?}"))
            }
            Err(TransportError { cause, advice, .. }) => {
                let address = self.client.address();
                output::print_error(&format!("cannot forward a delivery to {address}: {cause}; {advice}"));
                let text = format!("`roomz listen --forward` got no answer from the receiver: {cause}\n");
                let answer = format!("{ERROR_STYLE}not forwarded{ERROR_STYLE:#}, answered 502");
                ((StatusCode::BAD_GATEWAY, text).into_response(), answer)
            }
        }
    }

    async fn request(
        &self,
        delivery: &SavedDelivery,
        mut headers: HeaderMap,
    ) -> Result<Response, TransportError> {
        remove_connection_headers(&mut headers);
        headers.extend(self.headers.clone());
        let body = delivery.body.clone();
        let mut response = self.client.request(Method::POST, &headers, body).await?.response;
        if response.body().len() > MAX_RESPONSE_BODY {
            return Err(TransportError {
                cause: "the response is larger than 1 MiB".to_owned(),
                advice: "check the receiver's response",
                is_connect: false,
            });
        }
        remove_connection_headers(response.headers_mut());
        Ok(response.map(Body::from))
    }
}
