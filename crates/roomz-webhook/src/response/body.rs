use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response: the inner service's body, or a short one from the layer.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        inner: Inner<B>,
    }
}

pin_project! {
    #[project = InnerProjection]
    #[derive(Debug)]
    enum Inner<B> {
        Service { #[pin] body: B },
        Layer { text: Option<Bytes> },
    }
}

impl<B> ResponseBody<B> {
    pub(crate) const fn from_service(body: B) -> Self {
        Self { inner: Inner::Service { body } }
    }

    pub(crate) fn from_layer(text: impl Into<Bytes>) -> Self {
        Self { inner: Inner::Layer { text: Some(text.into()) } }
    }
}

/// The inner service's default body.
impl<B: Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::from_service(B::default())
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.project().inner.project() {
            InnerProjection::Service { body } => body.poll_frame(cx),
            InnerProjection::Layer { text } => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Service { body } => body.is_end_stream(),
            Inner::Layer { text } => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Service { body } => body.size_hint(),
            Inner::Layer { text } => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}
