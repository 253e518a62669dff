use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};

/// A boxed error, the same type as tower's and axum's `BoxError`.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The request body that the inner service receives.
///
/// For a delivery it holds the verified bytes. For a request on another path (see
/// [`with_path`](crate::WebhookLayerBuilder::with_path)) it streams what the client sends. Services need no body type
/// parameter: they take `Request<WebhookBody>`.
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
pub struct WebhookBody(Inner);

enum Inner {
    Buffered(Full<Bytes>),
    Streaming(UnsyncBoxBody<Bytes, BoxError>),
}

impl WebhookBody {
    pub(crate) fn verified(bytes: Bytes) -> Self {
        Self(Inner::Buffered(Full::new(bytes)))
    }

    pub(crate) fn streaming<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Inner::Streaming(body.map_err(Into::into).boxed_unsync()))
    }
}

/// For unit tests of a service. A body proves nothing; the proof is the [`Delivery`](crate::Delivery) in the extensions.
impl From<Bytes> for WebhookBody {
    fn from(bytes: Bytes) -> Self {
        Self::verified(bytes)
    }
}

impl Body for WebhookBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().0 {
            Inner::Buffered(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Inner::Streaming(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Buffered(body) => body.is_end_stream(),
            Inner::Streaming(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Buffered(body) => body.size_hint(),
            Inner::Streaming(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for WebhookBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Inner::Buffered(_) => "WebhookBody(buffered)",
            Inner::Streaming(_) => "WebhookBody(streaming)",
        })
    }
}
