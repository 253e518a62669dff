use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;
use roomz_protocol::Signature;

use crate::refusal::{Rejection, RejectionKind};
use crate::settings::Settings;

/// Checks 5 and 6: reads the body within the limit and the deadline, and verifies it while it arrives. Gives the
/// bytes and the position of the secret that matched.
pub(crate) async fn verified<B>(
    body: B,
    signature: &Signature,
    settings: &Settings,
) -> Result<(Bytes, usize), Rejection>
where
    B: Body<Data = Bytes>,
{
    // One deadline for the whole body: with one for each frame, a byte a second would last for ever.
    tokio::time::timeout(settings.body_timeout, read(body, signature, settings))
        .await
        .unwrap_or_else(|_| Err(Rejection::new(RejectionKind::BodyTimeout)))
}

async fn read<B>(body: B, signature: &Signature, settings: &Settings) -> Result<(Bytes, usize), Rejection>
where
    B: Body<Data = Bytes>,
{
    let too_large = || Rejection::body_too_large(settings.body_limit);
    let mut body = pin!(body);
    if body.size_hint().lower() > settings.body_limit as u64 {
        return Err(too_large());
    }
    let mut verifier = settings.secrets.verifier();
    let mut received = Received::Nothing;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Rejection::new(RejectionKind::BodyBroken))?;
        let Ok(data) = frame.into_data() else { continue };
        if received.len() + data.len() > settings.body_limit {
            return Err(too_large());
        }
        verifier.update(&data);
        received = received.and(data);
    }
    let secret = verifier.verify(signature).map_err(|_| Rejection::new(RejectionKind::SignatureMismatch))?;
    Ok((received.into_bytes(), secret))
}

/// Most deliveries arrive in one frame, which is then not copied.
enum Received {
    Nothing,
    One(Bytes),
    More(BytesMut),
}

impl Received {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::More(bytes) => bytes.len(),
        }
    }

    fn and(self, next: Bytes) -> Self {
        match self {
            _ if next.is_empty() => self,
            Self::Nothing => Self::One(next),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity(first.len() + next.len());
                all.extend_from_slice(&first);
                all.extend_from_slice(&next);
                Self::More(all)
            }
            Self::More(mut all) => {
                all.extend_from_slice(&next);
                Self::More(all)
            }
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::More(bytes) => bytes.freeze(),
        }
    }
}
