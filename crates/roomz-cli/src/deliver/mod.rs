//! Sends deliveries over several connections, with a rate limit and retries, and reports the results.

mod pace;
mod stats;

use std::cell::RefCell;

use anyhow::{Result, bail};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Method};
use reqwest::Url;
use roomz_protocol::Event;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::pace::{Pace, delay_after};
pub(crate) use self::stats::PlannedCounts;
use self::stats::Stats;
use crate::args::DeliverArgs;
use crate::client::{Client, ReceiverResponse, TransportError};

/// One delivery, the same bytes in each attempt.
#[derive(Clone)]
pub(crate) struct Delivery {
    /// Without `Content-Length`, which is set per request. Without `Host`, the host of the URL is used.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the signature is wrong on purpose, so that the receiver must answer 401.
    pub(crate) forged: bool,
}

/// What all connections share.
struct Deliverer {
    client: Client,
    stats: RefCell<Stats>,
    max_retries: Option<u32>,
    stop: CancellationToken,
}

/// Sends all deliveries and prints the report. Without retries, stops when the receiver is unreachable from
/// the start.
pub(crate) async fn run(
    url: Url,
    deliveries: impl Iterator<Item = Delivery>,
    planned: PlannedCounts,
    args: &DeliverArgs,
) -> Result<()> {
    let total = planned.deliveries();
    let mut deliveries = deliveries.peekable();
    // One delivery needs no table.
    let is_single = total == 1 && planned.unverified_not_sent == 0 && args.retry.is_none();
    let single = deliveries.peek().filter(|_| is_single).map(|delivery| {
        let event = Event::parse(&delivery.body);
        event.map_or("a delivery that is not an event".to_owned(), |event| format!("event {}", event.id))
    });
    let deliverer = Deliverer {
        client: Client::new(url, &args.connect, usize::MAX, false)?,
        stats: RefCell::new(Stats::new(planned)?),
        max_retries: args.retry,
        stop: CancellationToken::new(),
    };
    let interrupt = tokio::spawn(stop_on_interrupt(deliverer.stop.clone()));
    let (started, unreachable) = (Instant::now(), RefCell::new(None));
    let due = stream::unfold((deliveries, Pace::new(args.rate)), async |(mut deliveries, mut pace)| {
        let delivery = deliveries.next()?;
        Some(((delivery, pace.wait_for_turn().await), (deliveries, pace)))
    });
    let due = due.take_until(deliverer.stop.cancelled()).enumerate();
    let send = async |(index, (delivery, started))| {
        if let Err(error) = deliverer.deliver(&delivery, started).await
            && index == 0
            && error.is_connect
            && args.retry.is_none()
            && deliverer.stats.borrow().last_answer.is_none()
        {
            deliverer.stop.cancel();
            *unreachable.borrow_mut() = Some(error);
        }
    };
    due.for_each_concurrent(args.connections as usize, send).await;
    interrupt.abort();
    if let Some(TransportError { cause, advice, .. }) = unreachable.into_inner() {
        bail!("cannot connect to {}: {cause}; {advice}", deliverer.client.address());
    }
    let stats = deliverer.stats.into_inner();
    stats.report(single.as_deref(), started.elapsed(), deliverer.stop.is_cancelled(), args.json)
}

impl Deliverer {
    /// The latency of the first attempt counts from `started`, that of a retry from its own start. Fails when
    /// the last attempt had no response.
    async fn deliver(&self, delivery: &Delivery, mut started: Instant) -> Result<(), TransportError> {
        for attempt in 1.. {
            let (headers, body) = (&delivery.headers, delivery.body.clone());
            let result = self.client.request(Method::POST, headers, body).await;
            if self.stats.borrow_mut().record_attempt(&result, started.elapsed(), delivery.forged) {
                break;
            }
            let response = result.as_ref().ok();
            // The receiver has already accepted a forgery, so a retry cannot succeed.
            let is_accepted = response.is_some_and(ReceiverResponse::is_accepted);
            let retries = self.max_retries.filter(|_| !is_accepted).unwrap_or(0);
            let retry_after = response.and_then(|response| response.retry_after);
            let delay = delay_after(attempt, retries, retry_after, rand::random()).map(tokio::time::sleep);
            let is_retried = match delay {
                Some(delay) => self.stop.run_until_cancelled(delay).await.is_some(),
                None => false,
            };
            if !is_retried {
                self.stats.borrow_mut().record_failure(&result, delivery.forged);
                return result.map(drop);
            }
            self.stats.borrow_mut().retries += 1;
            started = Instant::now();
        }
        Ok(())
    }
}

/// Stops new deliveries on the first Ctrl-C and lets those in flight finish; the second Ctrl-C exits at once.
async fn stop_on_interrupt(stop: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.cancel();
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    }
}
