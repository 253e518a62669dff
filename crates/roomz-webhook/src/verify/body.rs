use std::error::Error;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError};
use roomz_protocol::{Secrets, Signature};

use crate::body::BoxError;
use crate::config::Config;
use crate::future::timeout_if_pending;
use crate::response::{Rejection, RejectionKind};
use crate::telemetry;

/// Checks 5 and 6: reads the body within the limit and the deadline, and verifies the signature.
///
/// `padding` is verified too, and its result ignored. Returns the bytes and the position of the secret that matched.
pub(crate) async fn read_and_verify<B>(
    body: B,
    signature: &Signature,
    secrets: &Secrets,
    padding: Option<Secrets>,
    config: &Config,
) -> Result<(Bytes, usize), Rejection>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    // One deadline for the whole body: a timeout per frame never fires for a client that sends one byte per second.
    // Boxed, because the state of the HMAC is large, and is not needed after this check.
    let mut read = Box::pin(read(body, signature, secrets, padding, config));
    timeout_if_pending(config.body_timeout, read.as_mut())
        .await
        .unwrap_or_else(|_| Err(Rejection::new(RejectionKind::BodyTimeout)))
}

async fn read<B>(
    body: B,
    signature: &Signature,
    secrets: &Secrets,
    padding: Option<Secrets>,
    config: &Config,
) -> Result<(Bytes, usize), Rejection>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let too_large = || Rejection::body_too_large(config.body_limit);
    let mut body = pin!(body);
    if body.size_hint().lower() > config.body_limit as u64 {
        return Err(too_large());
    }
    let mut verifier = secrets.verifier();
    let mut padding = padding.map(|secrets| secrets.verifier());
    let mut buffer = Buffer::Empty;
    loop {
        let data = match body.frame().await {
            None => break,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) => return Err(body_error(&*error.into())),
        };
        if data.is_empty() {
            // The deadline is checked only when this task yields. A body of empty frames would never end.
            tokio::task::yield_now().await;
            continue;
        }
        if buffer.len() + data.len() > config.body_limit {
            return Err(too_large());
        }
        verifier.update(&data);
        if let Some(padding) = &mut padding {
            padding.update(&data);
        }
        buffer = buffer.append(data);
    }
    if let Some(padding) = padding {
        let _ = std::hint::black_box(padding.verify(signature));
    }
    let secret = verifier.verify(signature).map_err(|_| Rejection::new(RejectionKind::SignatureMismatch))?;
    Ok((buffer.into_bytes(), secret))
}

/// A body limit in front of the layer, such as that of tower-http, ends the body with `LengthLimitError`.
fn body_error(error: &(dyn Error + 'static)) -> Rejection {
    telemetry::body_failed(error);
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Rejection::new(RejectionKind::BodyTooLarge);
        }
        cause = error.source();
    }
    Rejection::new(RejectionKind::BodyBroken)
}

/// The frames read so far. Most deliveries arrive in one frame, which is not copied.
enum Buffer {
    Empty,
    One(Bytes),
    Many(BytesMut),
}

impl Buffer {
    fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn append(self, next: Bytes) -> Self {
        match self {
            Self::Empty => Self::One(next),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity(first.len() + next.len());
                all.extend_from_slice(&first);
                all.extend_from_slice(&next);
                Self::Many(all)
            }
            Self::Many(mut all) => {
                all.extend_from_slice(&next);
                Self::Many(all)
            }
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}
