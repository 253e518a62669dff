use std::sync::Arc;

use tower_layer::Layer;

use crate::config::Config;
use crate::response::{Rejection, RejectionKind};
use crate::secrets::{SecretSource, SecretsHandle};
use crate::service::Webhook;
use crate::state::Shared;
use crate::telemetry;

/// A tower [`Layer`] that passes only verified, new events to the service behind it.
///
/// A clone shares everything with the original: the store, the waiting duplicates and [`drain`](Self::drain).
/// To use one receiver on several routes of one handler, clone the layer. Different handlers need
/// [layers of their own](crate::docs::composing).
///
/// ```
/// use roomz_webhook::{Delivery, Secret, WebhookBody, WebhookLayer};
/// use tower::{ServiceBuilder, service_fn};
///
/// let layer = WebhookLayer::new(Secret::new("the webhook secret")?);
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
#[derive(Clone, derive_more::Debug)]
#[debug("WebhookLayer {{ path: {:?}, .. }}", _0.config.path)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct WebhookLayer(Arc<Shared>);

impl WebhookLayer {
    /// Creates a layer with the default settings.
    ///
    /// Pass one [`Secret`](crate::Secret), several [`Secrets`](crate::Secrets), or a [`SecretsHandle`] to
    /// replace them while the layer runs. To change a setting, use [`builder`](Self::builder).
    ///
    /// ```
    /// use roomz_webhook::{Secret, WebhookLayer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let layer = WebhookLayer::new(Secret::new("the webhook secret")?);
    /// # drop(layer);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(secrets: impl Into<SecretsHandle>) -> Self {
        Self::from_config(Config::new(SecretSource::Fixed(secrets.into())))
    }

    pub(crate) fn from_config(config: Config) -> Self {
        telemetry::register();
        if let SecretSource::Fixed(secrets) = &config.secrets {
            telemetry::register_secrets(secrets.get().count());
        }
        Self(Arc::new(Shared::new(config)))
    }

    /// Checks whether the layer can handle deliveries, for a readiness probe. The error is the rejection of a
    /// delivery that arrives now.
    ///
    /// It calls the store with the store timeout (2 s by default), for a claim that does not exist. A result
    /// is used again for 1 s, so that frequent probes do not load the store. With
    /// [`with_fail_open`](crate::WebhookLayerBuilder::with_fail_open) the store is not called, because
    /// deliveries are handled without it.
    ///
    /// A full store passes the check, although each new event is then answered 503. With Redis Cluster, a
    /// check calls the node of one random key. A check is a renewal in the metric `store_seconds`, and its
    /// failure is not counted in `store_errors_total`.
    ///
    /// ```
    /// use http::StatusCode;
    ///
    /// async fn readyz(layer: roomz_webhook::WebhookLayer) -> (StatusCode, String) {
    ///     match layer.check_ready().await {
    ///         Ok(()) => (StatusCode::OK, "ready".to_owned()),
    ///         Err(rejection) => (rejection.status(), rejection.to_string()),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RejectionKind::ShuttingDown`] after [`begin_shutdown`](Self::begin_shutdown) or while
    /// [`drain`](Self::drain) runs; [`RejectionKind::StoreUnavailable`] when the store fails or exceeds the
    /// store timeout. The log line `readiness check failed` has the cause, which the rejection does not tell.
    ///
    /// # Panics
    ///
    /// When called outside a tokio runtime.
    pub async fn check_ready(&self) -> Result<(), Rejection> {
        if self.0.readiness.is_shutting_down() || self.0.draining.is_active() {
            return Err(RejectionKind::ShuttingDown.into());
        }
        // In a task: a probe that gives up early must not discard the result, for which others wait.
        let shared = Arc::clone(&self.0);
        let check = tokio::spawn(async move { shared.readiness.is_store_available(&shared.config).await });
        match check.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(RejectionKind::StoreUnavailable.into()),
            // The runtime is shutting down.
            Err(_) => Err(RejectionKind::ShuttingDown.into()),
        }
    }

    /// Announces the shutdown to load balancers: [`check_ready`](Self::check_ready) fails from now on.
    ///
    /// Deliveries are still handled. Over HTTP/1, their responses carry `Connection: close`, so that a proxy
    /// takes its open connections to other instances. Call it when the process is asked to stop, wait until
    /// the load balancer has seen it (for example 5 s), and then stop the server. It cannot be undone.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// async fn before_server_stops(layer: roomz_webhook::WebhookLayer) {
    ///     layer.begin_shutdown();
    ///     tokio::time::sleep(Duration::from_secs(5)).await;
    /// }
    /// ```
    pub fn begin_shutdown(&self) {
        self.0.readiness.begin_shutdown();
    }

    /// Waits until every running handler and every background settlement has ended.
    ///
    /// Call it after the server has stopped, with a timeout: while the store is down, a settlement is retried
    /// for up to the lease ceiling (10 min by default). Handlers that do not finish in time keep their claim
    /// until the lease ends (60 s by default). Then a redelivery can run the event.
    ///
    /// While it waits, no handler starts: new deliveries and waiting duplicates are answered 503 with
    /// `Retry-After`. When the returned future has completed or is dropped, the layer accepts deliveries
    /// again.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # async fn shutdown(layer: roomz_webhook::WebhookLayer) {
    /// // After the server has stopped:
    /// if tokio::time::timeout(Duration::from_secs(25), layer.drain()).await.is_err() {
    ///     eprintln!("some handlers are still running; a redelivery can run their events after their leases end");
    /// }
    /// # }
    /// ```
    pub async fn drain(&self) {
        let _guard = self.0.draining.start();
        let tasks = &self.0.tasks;
        tasks.close();
        tasks.wait().await;
    }
}

impl<S> Layer<S> for WebhookLayer {
    type Service = Webhook<S>;

    fn layer(&self, inner: S) -> Webhook<S> {
        Webhook { shared: Arc::clone(&self.0), inner }
    }
}
