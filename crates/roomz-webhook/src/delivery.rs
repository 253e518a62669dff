use std::fmt;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use roomz_protocol::Event;

use crate::layer::Receiver;

/// A verified delivery: the event, its bytes, and how it came here. It is in the extensions of the request.
///
/// Only the layer makes one, after the signature was verified and the event claimed: whoever holds one need not ask
/// whether that was done. Cloning is cheap.
///
/// ```
/// use roomz_webhook::{Delivery, WebhookBody};
///
/// async fn handle(request: http::Request<WebhookBody>) {
///     let Some(delivery) = request.extensions().get::<Delivery>() else { return };
///     println!("event {}, attempt {}", delivery.event().id, delivery.attempt());
/// }
/// ```
///
/// It cannot be made elsewhere:
///
/// ```compile_fail,E0451
/// # fn forge(real: roomz_webhook::Delivery) -> roomz_webhook::Delivery {
/// roomz_webhook::Delivery { ..real }
/// # }
/// ```
///
/// ```compile_fail,E0599
/// roomz_webhook::Delivery::default();
/// ```
///
/// ```compile_fail,E0624
/// roomz_webhook::Delivery::new(todo!(), todo!(), todo!(), 1, 0);
/// ```
#[derive(Clone)]
pub struct Delivery(Arc<Inner>);

struct Inner {
    event: Event,
    body: Bytes,
    attempt: u32,
    secret: usize,
    /// Weak: who keeps a delivery does not keep the store.
    receiver: Weak<Receiver>,
}

impl Delivery {
    pub(crate) fn new(
        receiver: &Arc<Receiver>,
        event: Event,
        body: Bytes,
        attempt: u32,
        secret: usize,
    ) -> Self {
        let receiver = Arc::downgrade(receiver);
        Self(Arc::new(Inner { event, body, attempt, secret, receiver }))
    }

    pub(crate) fn is_of(&self, receiver: &Arc<Receiver>) -> bool {
        std::ptr::eq(self.0.receiver.as_ptr(), Arc::as_ptr(receiver))
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.0.event
    }

    /// The bytes that were signed: the event as JSON, with the fields that [`Event`] ignores.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// How often this event was claimed, this time included: more than 1 when an earlier attempt failed or died. What
    /// such an attempt did before it ended may have taken effect.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// Which secret the signature matched: its position in the list given to the layer, from 0.
    #[must_use]
    pub fn secret_position(&self) -> usize {
        self.0.secret
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("event", &self.0.event)
            .field("body", &format_args!("[{} bytes]", self.0.body.len()))
            .field("attempt", &self.0.attempt)
            .field("secret_position", &self.0.secret)
            .finish()
    }
}
