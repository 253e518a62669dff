use bytes::Bytes;
use http::request::Parts;
use http_body::Body;
use roomz_protocol::Event;

use crate::answer::Answer;
use crate::refusal::Rejection;
use crate::settings::Settings;
use crate::{fresh, head, measure, read};

/// A delivery that is known to be ROOMZ's and to be an event.
pub(crate) struct Accepted {
    pub(crate) event: Event,
    pub(crate) body: Bytes,
    pub(crate) secret: usize,
}

/// Checks 1 to 8, cheap before expensive. Nothing here touches the store.
pub(crate) async fn accept<B>(head: &Parts, body: B, settings: &Settings) -> Result<Accepted, Answer>
where
    B: Body<Data = Bytes>,
{
    let signature = head::check(head, settings)?;
    let (body, secret) = read::verified(body, &signature, settings).await?;
    measure::verified(secret);
    let event = Event::parse(&body).map_err(Rejection::event_malformed)?;
    fresh::check(&event, settings)?;
    Ok(Accepted { event, body, secret })
}
