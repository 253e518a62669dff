use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full};

/// A boxed error, the same type as tower's and axum's `BoxError`.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The request body that the inner service receives.
///
/// For a delivery it holds the verified bytes. For a request on another path (see
/// [`with_path`](crate::WebhookLayerBuilder::with_path)) it streams what the client sends. Services need no
/// body type parameter: they take `Request<WebhookBody>`.
///
/// ```
/// use http_body_util::BodyExt;
/// use roomz_webhook::WebhookBody;
///
/// async fn length(request: http::Request<WebhookBody>) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
///     Ok(request.into_body().collect().await?.to_bytes().len())
/// }
///
/// // In a unit test of the service:
/// let request = http::Request::new(WebhookBody::from(bytes::Bytes::from_static(b"{}")));
/// # drop(length(request));
/// ```
#[derive(derive_more::Debug)]
#[debug("WebhookBody")]
pub struct WebhookBody(Either<Full<Bytes>, UnsyncBoxBody<Bytes, BoxError>>);

impl WebhookBody {
    pub(crate) fn streaming(body: impl Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static) -> Self {
        Self(Either::Right(body.map_err(Into::into).boxed_unsync()))
    }
}

/// Also for unit tests of a service. A body proves nothing; the proof is the [`Delivery`](crate::Delivery) in
/// the extensions.
impl From<Bytes> for WebhookBody {
    fn from(bytes: Bytes) -> Self {
        Self(Either::Left(Full::new(bytes)))
    }
}

impl Body for WebhookBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.get_mut().0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
