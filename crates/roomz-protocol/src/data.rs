use std::fmt;

use jiff::Timestamp;

use crate::parse_error::ParseError;
use crate::presence::WorkspacePresenceChanged;

/// The data of an event, by the event's type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventData {
    /// The data of a `workspace.presence.changed` event.
    WorkspacePresenceChanged(WorkspacePresenceChanged),
    /// An event whose type, timestamp or data this version of the crate cannot read.
    ///
    /// Answer it with a 2xx status, because ROOMZ counts every other status as a failed delivery.
    ///
    /// A later version adds a variant for such a type only as a breaking change, so that events that you
    /// handle here do not silently move to another variant.
    Unknown(UnknownData),
}

/// The data type of an [`Event`](crate::Event): [`EventData`] for every event, or the data of one event type.
///
/// This trait is sealed. Only types of this crate implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the data of a ROOMZ event",
    label = "expected `EventData` (every event type) or the data of one event type, such as `WorkspacePresenceChanged`",
    note = "for an event type that this crate does not know, match `EventData::Unknown` and read its `json()`"
)]
pub trait Payload: Clone + Send + Sync + sealed::Sealed + 'static {
    /// The type of [`Event::timestamp`](crate::Event::timestamp): `Option<Timestamp>` for [`EventData`],
    /// because an unknown event may have no readable timestamp, and [`Timestamp`] for one event type.
    type Timestamp: Clone + fmt::Debug + PartialEq + Eq + Send + Sync + 'static;

    /// Returns the timestamp and the data of an event as these types, or `None` if it carries others.
    fn of(timestamp: Option<Timestamp>, data: &EventData) -> Option<(Self::Timestamp, &Self)>;
}

impl Payload for EventData {
    type Timestamp = Option<Timestamp>;

    fn of(timestamp: Option<Timestamp>, data: &EventData) -> Option<(Option<Timestamp>, &Self)> {
        Some((timestamp, data))
    }
}

impl Payload for WorkspacePresenceChanged {
    type Timestamp = Timestamp;

    fn of(timestamp: Option<Timestamp>, data: &EventData) -> Option<(Timestamp, &Self)> {
        match data {
            EventData::WorkspacePresenceChanged(data) => Some((timestamp?, data)),
            EventData::Unknown(_) => None,
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::EventData {}
    impl Sealed for super::WorkspacePresenceChanged {}
}

/// The JSON of an event whose type, timestamp or data cannot be read, and the reason.
///
/// ```
/// use roomz_protocol::{Event, EventData};
///
/// let event = Event::parse(
///     br#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4","type":"workspace.booked",
///          "timestamp":"2024-05-21T08:22:32Z","data":{"until":"09:00"}}"#,
/// )?;
/// let EventData::Unknown(unknown) = &event.data else { panic!() };
/// assert_eq!(unknown.reason().to_string(), "unknown event type");
/// assert!(unknown.json().contains(r#""until":"09:00""#));
/// # Ok::<(), roomz_protocol::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq, derive_more::Debug)]
pub struct UnknownData {
    #[debug("[{} bytes]", json.len())]
    json: Box<str>,
    reason: UnknownReason,
}

impl UnknownData {
    pub(crate) fn new(json: &str, reason: UnknownReason) -> Self {
        Self { json: json.into(), reason }
    }

    /// Returns the body of the delivery unchanged: the whole event as one JSON object.
    ///
    /// Read it into plain structs. If any crate of your program enables the feature `arbitrary_precision` of
    /// serde_json, numbers with a fraction fail in tagged, untagged and flattened types.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Returns what cannot be read, and why.
    #[must_use]
    pub const fn reason(&self) -> &UnknownReason {
        &self.reason
    }
}

/// Why the type, timestamp or data of an event cannot be read.
///
/// ```
/// use roomz_protocol::{Event, EventData, ParseError, UnknownReason};
///
/// let event = Event::parse(
///     br#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4","type":"workspace.presence.changed",
///          "timestamp":"2024-05-21T08:22:32Z","data":{"workspaceId":"5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5"}}"#,
/// )?;
/// let EventData::Unknown(unknown) = &event.data else { panic!() };
/// let UnknownReason::InvalidData(error) = unknown.reason() else { panic!() };
/// assert!(matches!(error, ParseError::MissingField { field: "data.presenceStatus", .. }));
/// # Ok::<(), roomz_protocol::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, derive_more::Display)]
#[non_exhaustive]
pub enum UnknownReason {
    /// This version of the crate does not know the `type`.
    #[display("unknown event type")]
    UnknownType,
    /// The type is known, but the timestamp, the data or a required field of the data is missing, or has
    /// another type or format.
    InvalidData(ParseError),
}
