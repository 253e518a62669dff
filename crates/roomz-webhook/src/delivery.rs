use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roomz_protocol::Event;

use crate::claim::HeldClaim;
use crate::state::Shared;
use crate::store::{ClaimKey, Owner};

/// A verified and claimed delivery: the event, its bytes and the attempt.
///
/// The layer puts it into the request's extensions. Only the layer can create one, so it proves that the
/// signature was verified and the event was claimed. Cloning is cheap.
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
/// It cannot be created outside the layer:
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
/// let forge = roomz_webhook::Delivery::new;
/// ```
#[derive(Clone)]
pub struct Delivery(Arc<Inner>);

struct Inner {
    event: Event,
    body: Bytes,
    secret_position: usize,
    held: HeldClaim,
    layer_id: u64,
}

impl Delivery {
    /// Creates the delivery after checks 1 to 8, before the claim.
    pub(crate) fn new(
        shared: &Shared,
        namespace: Arc<str>,
        event: Event,
        body: Bytes,
        secret_position: usize,
    ) -> Self {
        let held = HeldClaim::new(&shared.config, ClaimKey::new(namespace, event.id), &body);
        Self(Arc::new(Inner { event, body, secret_position, held, layer_id: shared.id }))
    }

    pub(crate) fn held(&self) -> &HeldClaim {
        &self.0.held
    }

    /// Returns the id of the layer that has handled the request.
    pub(crate) fn layer_id(&self) -> u64 {
        self.0.layer_id
    }

    /// Returns the event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.0.event
    }

    /// Returns the signed bytes: the event as JSON, including the fields that [`Event`] ignores.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// Returns how often this event was claimed, counted from 1.
    ///
    /// Above 1, an earlier attempt failed or its process died. What that attempt did may have taken effect.
    /// An attempt also counts if its handler did not start, because of a shutdown.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.held.attempt()
    }

    /// Returns the namespace of the event's claim: that of the [`Tenant`](crate::Tenant), or else of the
    /// layer.
    ///
    /// ```
    /// use roomz_webhook::{Delivery, WebhookBody};
    ///
    /// async fn handle(request: http::Request<WebhookBody>) {
    ///     let Some(delivery) = request.extensions().get::<Delivery>() else { return };
    ///     println!("an event of {}", delivery.namespace());
    /// }
    /// ```
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.held.key.namespace()
    }

    /// Returns the key of the claim's record, for a store that completes the event inside a transaction of
    /// the handler.
    ///
    /// `roomz_sql::complete` does that. To support another database, complete the record of this key in the
    /// transaction of the effect, if the record has the [`owner`](Self::owner), and keep it for the
    /// [`retention`](Self::retention). The layer completes the claim again after the handler: the store must
    /// then reply [`Applied`](crate::store::Settled::Applied) and leave the record unchanged.
    ///
    /// The id of the key is the event's id, unless [`IdReusePolicy::Process`](crate::IdReusePolicy::Process)
    /// claims each body with a key of its own.
    ///
    /// ```
    /// use roomz_webhook::store::{IdempotencyStore as _, MokaStore, Settled};
    /// use roomz_webhook::testing::TestEvent;
    /// use roomz_webhook::{Delivery, Secret, WebhookBody, WebhookLayer};
    /// use tower::{Layer as _, ServiceExt as _, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower::BoxError> {
    /// let store = MokaStore::new();
    /// let secret = Secret::new("the webhook secret")?;
    /// let layer = WebhookLayer::builder(secret.clone()).with_store(store.clone()).build()?;
    /// let service = layer.layer(service_fn(move |request: http::Request<WebhookBody>| {
    ///     let store = store.clone();
    ///     async move {
    ///         let delivery = request.extensions().get::<Delivery>().ok_or("the layer is missing")?;
    ///         // A database does this in the transaction of the effect.
    ///         let (key, owner, retention) = (delivery.claim_key(), delivery.owner(), delivery.retention());
    ///         assert_eq!(store.complete(key, owner, retention).await?, Settled::Applied);
    ///         Ok::<_, tower::BoxError>(http::Response::new(String::new()))
    ///     }
    /// }));
    /// let request = TestEvent::busy().request::<http_body_util::Full<bytes::Bytes>>("/", &secret);
    /// assert_eq!(service.oneshot(request).await?.status(), 200);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn claim_key(&self) -> &ClaimKey {
        &self.0.held.key
    }

    /// Returns the owner that holds the claim, unless another delivery took it over. See
    /// [`claim_key`](Self::claim_key).
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.0.held.request.owner
    }

    /// Returns how long the completed event is remembered, from its completion on. The default is 7 days.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.0.held.request.retention
    }

    /// Returns the position of the secret that matched, counted from 0 in the order given to the layer.
    #[must_use]
    pub fn secret_position(&self) -> usize {
        self.0.secret_position
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("event", self.event())
            .field("body", &format_args!("[{} bytes]", self.body().len()))
            .field("attempt", &self.attempt())
            .field("secret_position", &self.0.secret_position)
            .finish()
    }
}
