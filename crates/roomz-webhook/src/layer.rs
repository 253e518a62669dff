use std::fmt;
use std::sync::Arc;

use roomz_protocol::Secrets;
use tokio_util::task::TaskTracker;
use tower::Layer;

use crate::background::Background;
use crate::builder::WebhookLayerBuilder;
use crate::service::Webhook;
use crate::settings::Settings;
use crate::waiting::WaitingRoom;

/// The layer that lets only verified, new events through to the service behind it.
///
/// A clone is the same receiver: it shares the store, the waiting duplicates and [`drain`](Self::drain).
///
/// ```
/// use roomz_webhook::{Delivery, Secret, WebhookBody, WebhookLayer};
/// use tower::{ServiceBuilder, service_fn};
///
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?).build()?;
/// let service = ServiceBuilder::new().layer(layer).service(service_fn(
///     |request: http::Request<WebhookBody>| async move {
///         let delivery = request.extensions().get::<Delivery>();
///         println!("{:?}", delivery.map(Delivery::event));
///         Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
///     },
/// ));
/// # drop(service);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct WebhookLayer(Arc<Receiver>);

/// What all requests of one layer share.
pub(crate) struct Receiver {
    pub(crate) settings: Settings,
    pub(crate) waiting: WaitingRoom,
    pub(crate) background: Background,
    /// Everything that shutdown waits for.
    pub(crate) tasks: TaskTracker,
}

impl WebhookLayer {
    /// Creates a layer with the default settings for one secret, or for several during a rotation.
    ///
    /// Use [`builder`](Self::builder) to change a setting.
    ///
    /// ```
    /// use roomz_webhook::{Secret, WebhookLayer};
    ///
    /// let layer = WebhookLayer::new(Secret::new("the webhook secret")?);
    /// # Ok::<(), roomz_webhook::roomz_protocol::SecretError>(())
    /// ```
    #[must_use]
    pub fn new(secrets: impl Into<Secrets>) -> Self {
        Self::from_settings(Settings::new(secrets.into()))
    }

    /// Creates a builder with the default settings, to change some of them.
    pub fn builder(secrets: impl Into<Secrets>) -> WebhookLayerBuilder {
        WebhookLayerBuilder::new(secrets.into())
    }

    pub(crate) fn from_settings(settings: Settings) -> Self {
        Self(Arc::new(Receiver {
            settings,
            waiting: WaitingRoom::default(),
            background: Background::new(),
            tasks: TaskTracker::new(),
        }))
    }

    pub(crate) const fn receiver(&self) -> &Arc<Receiver> {
        &self.0
    }
}

impl<S> Layer<S> for WebhookLayer {
    type Service = Webhook<S>;

    fn layer(&self, service: S) -> Webhook<S> {
        Webhook::new(Arc::clone(&self.0), service)
    }
}

impl fmt::Debug for WebhookLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookLayer")
            .field("path", &self.0.settings.path)
            .field("namespace", &self.0.settings.namespace)
            .finish_non_exhaustive()
    }
}
