//! Takes events from the stream, and acknowledges each one after it was handled.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt as _;
use roomz_axum::Event;

use crate::broker::{Broker, STREAM};

/// The durable consumer. All processes with this name share the events; another name gets every event, too.
pub const CONSUMER: &str = "roomz-consumer";
/// The stream that records which events are not delivered any more.
pub const DEAD_LETTERS: &str = "ROOMZ_DEAD_LETTERS";
/// How often the server confirms a pull request. Twice this time without a message means that the connection
/// is lost.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The pause before events are requested again after an error.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);

/// Any error of a handler.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// When events are delivered again.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The time to handle one event. After it, the server delivers the event again. Default: 30 s.
    pub ack_wait: Duration,
    /// How often an event is delivered before it becomes a dead letter. Default: 100, about eight hours of
    /// failures.
    pub max_deliver: i64,
    /// The pause after the first failure. Each further failure doubles it. Default: 1 s.
    pub retry_delay: Duration,
    /// The longest pause after a failure. Default: 5 min.
    pub retry_delay_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ack_wait: Duration::from_secs(30),
            max_deliver: 100,
            retry_delay: Duration::from_secs(1),
            retry_delay_max: Duration::from_secs(5 * 60),
        }
    }
}

impl Settings {
    /// The pause after this delivery of an event has failed, counted from 1.
    fn delay_after(&self, delivery: i64) -> Duration {
        let doublings = u32::try_from(delivery - 1).unwrap_or(u32::MAX);
        self.retry_delay.saturating_mul(2_u32.saturating_pow(doublings)).min(self.retry_delay_max)
    }
}

/// Passes each event to `handle`, one after the other, until `shutdown` completes.
///
/// An event is acknowledged after `handle` returned `Ok`. If it returns an error or the process dies, the
/// event is delivered again: `handle` can run more than once for one event. After an outage of the server, it
/// goes on.
///
/// # Errors
///
/// The consumer cannot be created, or it was deleted.
pub async fn run<F, Fut>(
    broker: &Broker,
    settings: Settings,
    handle: F,
    shutdown: impl Future<Output = ()>,
) -> Result<(), BoxError>
where
    F: Fn(Event) -> Fut,
    Fut: Future<Output = Result<(), BoxError>>,
{
    create_dead_letters(broker).await?;
    let consumer = create_consumer(broker, settings).await?;
    let mut shutdown = pin!(shutdown);
    loop {
        // One event at a time: events that wait in this process would use up their `ack_wait`.
        let mut messages =
            consumer.stream().max_messages_per_batch(1).heartbeat(HEARTBEAT).messages().await?;
        loop {
            let next = tokio::select! {
                biased;
                () = &mut shutdown => return Ok(()),
                next = messages.next() => next,
            };
            match next {
                Some(Ok(message)) => process(&message, settings, &handle).await,
                Some(Err(error)) if error.kind() == pull::MessagesErrorKind::ConsumerDeleted => {
                    return Err(format!("the consumer {CONSUMER} was deleted; restart to create it").into());
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, hint = "check the NATS server", "no events received");
                    break;
                }
                None => break,
            }
        }
        // It would request an event when it is connected again, and that event would wait here until its
        // `ack_wait` ends.
        drop(messages);
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            () = tokio::time::sleep(REQUEST_INTERVAL) => {}
        }
    }
}

async fn process<F, Fut>(message: &Message, settings: Settings, handle: &F)
where
    F: Fn(Event) -> Fut,
    Fut: Future<Output = Result<(), BoxError>>,
{
    let delivery = message.info().map_or(1, |info| info.delivered);
    let subject = &message.subject;
    let result = match Event::parse(&message.payload) {
        Ok(event) => match handle(event).await {
            Ok(()) => AckKind::Ack,
            Err(error) => {
                let hint = "it is delivered again, up to the limit `max_deliver`";
                tracing::error!(%subject, %error, delivery, hint, "event not handled");
                AckKind::Nak(Some(settings.delay_after(delivery)))
            }
        },
        Err(error) => {
            let hint = "nothing but the receiver may publish to this subject";
            tracing::error!(%subject, %error, hint, "message is not an event");
            AckKind::Term
        }
    };
    // Waits until the server has the acknowledgement. Without it, the event would be delivered again.
    if let Err(error) = message.double_ack_with(result).await {
        let hint = "the event is delivered again";
        tracing::warn!(%subject, %error, delivery, hint, "acknowledgement not confirmed");
    }
}

/// Creates the consumer, or changes its settings.
async fn create_consumer(broker: &Broker, settings: Settings) -> Result<PullConsumer, BoxError> {
    let config = pull::Config {
        durable_name: Some(CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: settings.ack_wait,
        max_deliver: settings.max_deliver,
        ..pull::Config::default()
    };
    let created = broker.stream().create_consumer(config).await;
    Ok(created.map_err(|error| format!("cannot create the consumer {CONSUMER}: {error}"))?)
}

/// Records events that reached `max_deliver`, and messages that are no events. The server publishes an
/// advisory for each, which names the sequence number (`stream_seq`) of the message in the stream `ROOMZ`.
async fn create_dead_letters(broker: &Broker) -> Result<(), BoxError> {
    let advisories = |name| format!("$JS.EVENT.ADVISORY.CONSUMER.{name}.{STREAM}.*");
    let config = Config {
        name: DEAD_LETTERS.to_owned(),
        subjects: vec![advisories("MAX_DELIVERIES"), advisories("MSG_TERMINATED")],
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    let created = broker.context().get_or_create_stream(config).await;
    created.map_err(|error| format!("cannot create the stream {DEAD_LETTERS}: {error}"))?;
    Ok(())
}
