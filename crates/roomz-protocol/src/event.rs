use crate::data::{EventData, Payload};
use crate::event_type::EventType;
use crate::id::EventId;
use crate::untrusted_text::UntrustedText;

/// One event that ROOMZ delivers.
///
/// `Event` is an event of any type. `Event<WorkspacePresenceChanged>` is an event of one type
/// (see [`typed`](Self::typed)).
///
/// ROOMZ does not promise an order: an older event may arrive after a newer one for the same workspace.
/// [`Latest`](crate::Latest) keeps the value with the newest [`timestamp`](Self::timestamp).
///
/// Source: `openapi/spec3.yml` of the public repository `roomz-io/openapi`, version 2024-05-20.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event<T: Payload = EventData> {
    /// The event's id. Every delivery of the same event has the same id.
    pub id: EventId,
    /// The `type` of the event.
    pub event_type: EventType,
    /// When the event happened, according to the sender: a [`Timestamp`](crate::Timestamp) in an event of one
    /// type. In an event of any type it is an `Option`, which is `None` if the timestamp of an
    /// [unknown](EventData::Unknown) event cannot be read.
    pub timestamp: T::Timestamp,
    /// The `apiVersion`, if the event has one. A JSON number is kept as its text.
    pub api_version: Option<UntrustedText>,
    /// The data of the event.
    pub data: T,
}

impl Event {
    /// Returns the event with its data as one type, or `None` if it carries other data.
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
        let (timestamp, data) = T::of(self.timestamp, &self.data)?;
        Some(Event {
            id: self.id,
            event_type: self.event_type.clone(),
            timestamp,
            api_version: self.api_version.clone(),
            data: data.clone(),
        })
    }
}
