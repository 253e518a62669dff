use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response: the inner service's body, or a short one from the layer.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        service: Option<B>,
        layer: Full<Bytes>,
    }
}

impl<B> ResponseBody<B> {
    pub(crate) fn from_service(body: B) -> Self {
        Self { service: Some(body), layer: Full::default() }
    }

    pub(crate) fn from_layer(text: Bytes) -> Self {
        Self { service: None, layer: Full::new(text) }
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
        let body = self.project();
        match body.service.as_pin_mut() {
            Some(service) => service.poll_frame(cx),
            None => Pin::new(body.layer).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.service.as_ref().map_or_else(|| self.layer.is_end_stream(), Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.service.as_ref().map_or_else(|| self.layer.size_hint(), Body::size_hint)
    }
}
