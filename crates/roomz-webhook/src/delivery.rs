use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use roomz_protocol::Event;

use crate::state::Shared;
use crate::store::{ClaimKey, Owner};

/// A verified and claimed delivery: the event, its bytes and the attempt.
///
/// The layer puts it into the request's extensions. Only the layer can create one, so it proves that the signature was
/// verified and the event was claimed. Cloning is cheap.
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
/// roomz_webhook::Delivery::new(todo!(), todo!(), None, todo!(), todo!(), 0);
/// ```
#[derive(Clone)]
pub struct Delivery(Arc<Inner>);

/// The claim of a [`Delivery`]: what a store needs to complete the event inside a transaction of the handler.
///
/// `roomz_sql::complete` uses it. To support another database, complete the record of this key in the transaction of the
/// effect, if the record has this owner, and keep it for the retention. The layer completes the claim again after the handler:
/// the store must then reply [`Applied`](crate::store::Settled::Applied) and leave the record unchanged.
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
///         let claim = delivery.claim();
///         // A database does this in the transaction of the effect.
///         let settled = store.complete(claim.key(), claim.owner(), claim.retention()).await?;
///         assert_eq!(settled, Settled::Applied);
///         Ok::<_, tower::BoxError>(http::Response::new(String::new()))
///     }
/// }));
/// let request = TestEvent::busy().request::<http_body_util::Full<bytes::Bytes>>("/", &secret);
/// assert_eq!(service.oneshot(request).await?.status(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DeliveryClaim {
    pub(crate) key: ClaimKey,
    pub(crate) owner: Owner,
    pub(crate) attempt: u32,
    pub(crate) lease: Duration,
    pub(crate) retention: Duration,
}

impl DeliveryClaim {
    /// Returns the key of the record. Its id is the event's id, unless [`IdReusePolicy::Process`](crate::IdReusePolicy::Process)
    /// claims each body with a key of its own.
    ///
    /// ```
    /// use roomz_webhook::Delivery;
    ///
    /// fn namespace(delivery: &Delivery) -> &str {
    ///     delivery.claim().key().namespace()
    /// }
    /// ```
    #[must_use]
    pub const fn key(&self) -> &ClaimKey {
        &self.key
    }

    /// Returns the owner that holds the claim, unless another delivery took it over.
    ///
    /// ```
    /// use roomz_webhook::Delivery;
    ///
    /// fn owner_column(delivery: &Delivery) -> [u8; 16] {
    ///     delivery.claim().owner().to_bytes()
    /// }
    /// ```
    #[must_use]
    pub const fn owner(&self) -> Owner {
        self.owner
    }

    /// Returns how long the completed event is remembered, from its completion on. The default is 7 days.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use roomz_webhook::Delivery;
    ///
    /// fn expiry(delivery: &Delivery) -> SystemTime {
    ///     SystemTime::now() + delivery.claim().retention()
    /// }
    /// ```
    #[must_use]
    pub const fn retention(&self) -> Duration {
        self.retention
    }
}

struct Inner {
    event: Event,
    claim: DeliveryClaim,
    /// The delivery of a layer around this one.
    outer: Option<Delivery>,
    body: Bytes,
    secret: usize,
    /// Weak, so that a delivery that is kept does not keep the store open.
    shared: Weak<Shared>,
}

impl Delivery {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        claim: DeliveryClaim,
        outer: Option<Self>,
        event: Event,
        body: Bytes,
        secret: usize,
    ) -> Self {
        Self(Arc::new(Inner { event, claim, outer, body, secret, shared: Arc::downgrade(shared) }))
    }

    /// Returns whether this layer, or a clone of it, has handled the request already.
    pub(crate) fn belongs_to(&self, shared: &Arc<Shared>) -> bool {
        self.chain().any(|delivery| std::ptr::eq(delivery.0.shared.as_ptr(), Arc::as_ptr(shared)))
    }

    /// Returns the owner and the lease of the claim with this key that a layer holds for this delivery.
    pub(crate) fn find_claim(&self, key: &ClaimKey) -> Option<(Owner, Duration)> {
        let claim = self.chain().map(|delivery| &delivery.0.claim).find(|claim| claim.key == *key)?;
        Some((claim.owner, claim.lease))
    }

    /// This delivery and those of the layers around it, from the inside to the outside.
    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |delivery| delivery.0.outer.as_ref())
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
    /// Above 1, an earlier attempt failed or its process died. What that attempt did may have taken effect. An attempt also
    /// counts if its handler did not start, because of
    /// [`with_max_running_handlers`](crate::WebhookLayerBuilder::with_max_running_handlers) or a shutdown.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.claim.attempt
    }

    /// Returns the namespace of the event's claim: that of the [`Tenant`](crate::Tenant), or else of the layer.
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
        self.0.claim.key.namespace()
    }

    /// Returns the claim, for a store that completes the event inside a transaction of the handler.
    ///
    /// ```
    /// use roomz_webhook::{Delivery, WebhookBody};
    ///
    /// async fn handle(request: http::Request<WebhookBody>) {
    ///     let Some(delivery) = request.extensions().get::<Delivery>() else { return };
    ///     assert_eq!(delivery.claim().key().namespace(), delivery.namespace());
    /// }
    /// ```
    #[must_use]
    pub fn claim(&self) -> &DeliveryClaim {
        &self.0.claim
    }

    /// Returns the position of the secret that matched, counted from 0 in the order given to the layer.
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
            .field("attempt", &self.0.claim.attempt)
            .field("secret_position", &self.0.secret)
            .finish()
    }
}
