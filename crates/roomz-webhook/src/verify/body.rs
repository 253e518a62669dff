use std::error::Error;
use std::pin::{Pin, pin};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError};
use roomz_protocol::{Secrets, Signature, SignatureMismatch};

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
    let read = pin!(read(body, signature, secrets, padding, config));
    timeout_if_pending(config.body_timeout, read)
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
    let mut body = pin!(body);
    check_length(body.size_hint().lower(), config)?;
    let first = next_data(body.as_mut()).await?;
    // A body may panic if it is polled after its end.
    let has_ended = first.is_none() || body.is_end_stream();
    let first = first.unwrap_or_default();
    check_length(first.len() as u64, config)?;
    let second = if has_ended { None } else { next_data(body.as_mut()).await? };
    if let Some(second) = second {
        // Boxed, because few deliveries arrive in several frames, and the state of the HMAC is large.
        return Box::pin(read_and_verify_frames([first, second], body, signature, secrets, padding, config))
            .await;
    }
    if let Some(padding) = padding {
        let _ = std::hint::black_box(padding.verify(&first, signature));
    }
    let secret = secrets.verify(&first, signature).map_err(mismatch)?;
    Ok((first, secret))
}

/// Updates the HMAC as frames arrive, so that the end of the body causes no long computation.
async fn read_and_verify_frames<B>(
    frames: [Bytes; 2],
    mut body: Pin<&mut B>,
    signature: &Signature,
    secrets: &Secrets,
    padding: Option<Secrets>,
    config: &Config,
) -> Result<(Bytes, usize), Rejection>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut verifier = secrets.verifier();
    let mut padding = padding.map(|secrets| secrets.verifier());
    let mut bytes = BytesMut::new();
    let mut append = |data: &[u8]| {
        check_length((bytes.len() + data.len()) as u64, config)?;
        verifier.update(data);
        if let Some(padding) = &mut padding {
            padding.update(data);
        }
        bytes.extend_from_slice(data);
        Ok(())
    };
    for data in &frames {
        append(data)?;
    }
    drop(frames);
    while let Some(data) = next_data(body.as_mut()).await? {
        append(&data)?;
    }
    if let Some(padding) = padding {
        let _ = std::hint::black_box(padding.verify(signature));
    }
    let secret = verifier.verify(signature).map_err(mismatch)?;
    Ok((bytes.freeze(), secret))
}

/// Returns the data of the next frame that has any, or `None` at the end of the body.
async fn next_data<B>(mut body: Pin<&mut B>) -> Result<Option<Bytes>, Rejection>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    loop {
        let data = match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) => return Err(body_error(&*error.into())),
        };
        if !data.is_empty() {
            return Ok(Some(data));
        }
        // The deadline is checked only when this task yields. A body of empty frames would never end.
        tokio::task::yield_now().await;
    }
}

fn check_length(length: u64, config: &Config) -> Result<(), Rejection> {
    if length > config.body_limit as u64 {
        return Err(Rejection::body_too_large(config.body_limit));
    }
    Ok(())
}

fn mismatch(_: SignatureMismatch) -> Rejection {
    Rejection::new(RejectionKind::SignatureMismatch)
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
