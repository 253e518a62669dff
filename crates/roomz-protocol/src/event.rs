use jiff::Timestamp;

use crate::data::{EventData, Payload};
use crate::event_type::EventType;
use crate::id::EventId;
use crate::parse;
use crate::parse_error::ParseError;
use crate::text::UntrustedText;

/// One event, as ROOMZ delivers it.
///
/// `Event` is an event of any type; `Event<WorkspacePresenceChanged>` is one whose type is settled
/// (see [`typed`](Self::typed)).
///
/// ROOMZ does not promise an order: an older event may arrive after a newer one for the same workspace.
/// [`Latest`](crate::Latest) keeps what is newest by [`timestamp`](Self::timestamp).
///
/// Source: `openapi/spec3.yml` of the public repository `roomz-io/openapi`, version 2024-05-20.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event<T = EventData> {
    /// The event's id: the same event delivered twice has the same id.
    pub id: EventId,
    /// The `type` as it came.
    pub event_type: EventType,
    /// When it happened, as the sender says.
    pub timestamp: Timestamp,
    /// The `apiVersion`, if the sender gave one; a JSON number is taken as its text.
    pub api_version: Option<UntrustedText>,
    /// What happened.
    pub data: T,
}

impl Event {
    /// Reads an event from a delivery's body. Verify the body's signature first.
    ///
    /// The [crate documentation](crate) has the table of what is read how.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the body is not UTF-8, not exactly one JSON object, repeats a key that is read, or has
    /// no readable `id`, `type`, `timestamp` or `data`. Unknown types and unreadable data are not errors: they
    /// are [`EventData::Unknown`].
    ///
    /// ```
    /// use roomz_protocol::{Event, ParseErrorKind};
    ///
    /// let error = Event::parse(br#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4"}"#).unwrap_err();
    /// assert_eq!(error.to_string(), "the field `type` is missing");
    /// assert!(matches!(error.kind(), ParseErrorKind::MissingField { field: "type", .. }));
    /// ```
    pub fn parse(body: &[u8]) -> Result<Self, ParseError> {
        parse::event(body)
    }

    /// The event with its data as one type, if it carries that.
    ///
    /// ```
    /// use roomz_protocol::{Event, WorkspacePresenceChanged};
    ///
    /// let event = Event::parse(
    ///     br#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4","type":"workspace.presence.changed",
    ///          "timestamp":"2024-05-21T08:22:32.452Z",
    ///          "data":{"workspaceId":"5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5","presenceStatus":"Busy"}}"#,
    /// )?;
    /// let event: Event<WorkspacePresenceChanged> = event.typed().expect("a presence change");
    /// assert_eq!(event.data.presence_status.as_str(), "Busy");
    /// # Ok::<(), roomz_protocol::ParseError>(())
    /// ```
    #[must_use]
    pub fn typed<T: Payload>(&self) -> Option<Event<T>> {
        Some(Event {
            id: self.id,
            event_type: self.event_type.clone(),
            timestamp: self.timestamp,
            api_version: self.api_version.clone(),
            data: T::from_data(&self.data)?.clone(),
        })
    }
}
