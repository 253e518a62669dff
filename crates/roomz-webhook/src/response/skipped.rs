use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};

/// Why a delivery was answered 200 without running its handler.
///
/// The value is in the response's extensions. Its name is in the header `roomz-webhook-skipped` and in the
/// JSON body.
///
/// ```
/// use roomz_webhook::Skipped;
///
/// let response = Skipped::Ignored.into_response::<bytes::Bytes>();
/// assert_eq!(response.status(), 200);
/// assert_eq!(response.headers()["roomz-webhook-skipped"], "ignored");
/// assert_eq!(response.extensions().get(), Some(&Skipped::Ignored));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Skipped {
    /// The event was handled before.
    Duplicate,
    /// The event is too old or too new, and [`StalePolicy::Acknowledge`](crate::StalePolicy::Acknowledge) is
    /// set.
    Stale,
    /// The handler takes another type of event, or the data cannot be read as the type it takes.
    Ignored,
}

impl Skipped {
    /// The response header: `roomz-webhook-skipped`.
    pub const HEADER: HeaderName = HeaderName::from_static("roomz-webhook-skipped");

    /// Returns the stable name: `duplicate`, `stale` or `ignored`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::Ignored => "ignored",
        }
    }

    /// Converts this into its response: 200, a JSON body such as `{"skipped":"duplicate"}`, the header, and
    /// this value in the extensions.
    ///
    /// Return it from an extractor that skips an event.
    #[must_use]
    pub fn into_response<B: From<Bytes>>(self) -> Response<B> {
        let body = format!(r#"{{"skipped":"{}"}}"#, self.as_str());
        let mut response = Response::new(B::from(Bytes::from(body)));
        response.headers_mut().insert(Self::HEADER, HeaderValue::from_static(self.as_str()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.extensions_mut().insert(self);
        response
    }
}
