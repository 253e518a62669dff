use std::error::Error;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError};
use roomz_protocol::{Secrets, Signature, SignatureMismatch, Verifier};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::body::BoxError;
use crate::call::timeout_if_pending;
use crate::config::Config;
use crate::response::{Rejection, RejectionKind};
use crate::telemetry;
use crate::verify::head::check_length;

/// A server passes on the body in frames of at least this length, unless it arrives in smaller ones.
const FRAME: usize = 4_096;

/// Checks 5 and 6: reads the body within the limit and the deadline, and verifies the signature.
///
/// Returns the bytes and the position of the secret that matched.
pub(crate) async fn read_and_verify(
    body: Pin<&mut impl Body<Data = Bytes, Error: Into<BoxError>>>,
    signature: &Signature,
    secrets: &Secrets,
    config: &Config,
) -> Result<(Bytes, usize), Rejection> {
    // One deadline for the whole body: a timeout per frame never fires for a client that sends one byte per
    // second.
    let mut read = pin!(read(body, signature, secrets, config));
    if let Ok(result) = timeout_if_pending(config.body_timeout, read.as_mut()).await {
        return result;
    }
    // After a process was stopped for longer than the deadline, the body may wait in the socket. A server
    // passes on a part of it each time this task yields. A socket holds a few megabytes at most.
    for _ in 0..(config.body_limit / FRAME).clamp(64, 4_096) {
        tokio::task::yield_now().await;
        if let Some(result) = read.as_mut().now_or_never() {
            return result;
        }
    }
    Err(RejectionKind::BodyTimeout.into())
}

async fn read(
    mut body: Pin<&mut impl Body<Data = Bytes, Error: Into<BoxError>>>,
    signature: &Signature,
    secrets: &Secrets,
    config: &Config,
) -> Result<(Bytes, usize), Rejection> {
    check_length(body.size_hint().lower(), config)?;
    let mut first = Bytes::new();
    // For the few bodies of several frames.
    let mut all: Option<(Verifier, BytesMut)> = None;
    let mut length = 0;
    // A body may panic if it is polled after its end.
    while !body.is_end_stream()
        && let Some(data) = next_data(body.as_mut()).await?
    {
        length += data.len();
        check_length(length as u64, config)?;
        if length == data.len() {
            first = data;
            continue;
        }
        let (verifier, bytes) = all.get_or_insert_with(|| {
            let first = std::mem::take(&mut first);
            let mut verifier = secrets.verifier();
            verifier.update(&first);
            (verifier, BytesMut::from(&*first))
        });
        // As frames arrive, so that the end of the body causes no long computation.
        verifier.update(&data);
        bytes.extend_from_slice(&data);
    }
    let verified = match &all {
        None => secrets.verify(&first, signature),
        Some((verifier, _)) => verifier.verify(signature),
    };
    let secret_position = verified.map_err(|_: SignatureMismatch| RejectionKind::SignatureMismatch)?;
    Ok((all.map_or(first, |(_, bytes)| bytes.freeze()), secret_position))
}

/// Returns the data of the next frame that has any, or `None` at the end of the body.
async fn next_data(
    mut body: Pin<&mut impl Body<Data = Bytes, Error: Into<BoxError>>>,
) -> Result<Option<Bytes>, Rejection> {
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

/// Reads and drops the rest of a body whose rejection was sent.
///
/// A client that sends its whole body before it reads would lose the rejection, because a connection that is
/// closed with unread bytes is reset. The time and the bytes are limited again as for a body.
pub(crate) async fn discard<B>(mut body: Pin<Box<B>>, time_limit: Duration, limit: usize)
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let read = async {
        let mut length = 0;
        while length <= limit
            && let Ok(Some(data)) = next_data(body.as_mut()).await
        {
            length += data.len();
        }
    };
    // After a timeout, the body is dropped as well.
    let _ = timeout(time_limit, read).await;
}

/// A body limit in front of the layer, such as that of tower-http, ends the body with `LengthLimitError`, and
/// a body timeout with tower-http's `TimeoutError`. That type is recognized by its name: it differs between
/// the versions of tower-http, and the application chooses the version.
fn body_error(error: &(dyn Error + 'static)) -> Rejection {
    telemetry::body_failed(error);
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return RejectionKind::BodyTooLarge.into();
        }
        let is_timed_out =
            error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::TimedOut);
        if is_timed_out || error.is::<Elapsed>() || format!("{error:?}").starts_with("TimeoutError") {
            return RejectionKind::BodyTimeout.into();
        }
        cause = error.source();
    }
    RejectionKind::BodyBroken.into()
}
