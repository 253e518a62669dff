use std::fmt;

use crate::presence::WorkspacePresenceChanged;

/// The data of an event, by its type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventData {
    /// A `workspace.presence.changed` event.
    WorkspacePresenceChanged(WorkspacePresenceChanged),
    /// An event whose type or data this version of the crate does not know. Answer it with a 2xx: for ROOMZ
    /// anything else is a failed delivery.
    ///
    /// To give such a type a variant of its own is a breaking change of this crate, so that events you handle here do
    /// not silently go elsewhere.
    Unknown(UnknownData),
}

/// What an [`Event`](crate::Event) can be asked for: the data of one event type, or [`EventData`] for all.
///
/// Sealed: the types that implement it are those of this crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the data of a ROOMZ event",
    label = "expected `EventData` (every type of event) or the data of one type, such as `WorkspacePresenceChanged`",
    note = "for a type of event that this crate does not know, take `EventData::Unknown` and read its `json()`"
)]
pub trait Payload: Clone + Send + Sync + sealed::Sealed + 'static {
    /// This data, if the event carries it.
    fn from_data(data: &EventData) -> Option<&Self>;
}

impl Payload for EventData {
    fn from_data(data: &EventData) -> Option<&Self> {
        Some(data)
    }
}

impl Payload for WorkspacePresenceChanged {
    fn from_data(data: &EventData) -> Option<&Self> {
        match data {
            EventData::WorkspacePresenceChanged(data) => Some(data),
            EventData::Unknown(_) => None,
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::EventData {}
    impl Sealed for super::WorkspacePresenceChanged {}
}

/// An event that could not be given a type, with all of its JSON.
///
/// ```
/// use roomz_protocol::{Event, EventData};
///
/// let event = Event::parse(
///     br#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4","type":"workspace.booked",
///          "timestamp":"2024-05-21T08:22:32Z","data":{"until":"09:00"}}"#,
/// )?;
/// let EventData::Unknown(unknown) = &event.data else { panic!() };
/// assert_eq!(unknown.reason().to_string(), "its type is not known to this version");
/// assert!(unknown.json().contains(r#""until":"09:00""#));
/// # Ok::<(), roomz_protocol::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct UnknownData {
    json: Box<str>,
    reason: UnknownReason,
}

impl UnknownData {
    pub(crate) fn new(json: &str, reason: UnknownReason) -> Self {
        Self { json: json.into(), reason }
    }

    /// The whole event as it came, byte for byte: one JSON object, in which `data` is one of the keys.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Why the data has no type.
    #[must_use]
    pub const fn reason(&self) -> &UnknownReason {
        &self.reason
    }
}

impl fmt::Debug for UnknownData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnknownData")
            .field("reason", &self.reason)
            .field("json", &format_args!("[{} bytes]", self.json.len()))
            .finish()
    }
}

/// Why an event's data has no type.
///
/// ```
/// use roomz_protocol::{Event, EventData, UnknownReason};
///
/// let event = Event::parse(
///     br#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4","type":"workspace.presence.changed",
///          "timestamp":"2024-05-21T08:22:32Z","data":{"workspaceId":"5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5"}}"#,
/// )?;
/// let EventData::Unknown(unknown) = &event.data else { panic!() };
/// assert!(matches!(unknown.reason(), UnknownReason::MissingField { field: "data.presenceStatus", .. }));
/// # Ok::<(), roomz_protocol::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownReason {
    /// The `type` is none that this version knows.
    UnknownType,
    /// The type is known, but a field that it needs is absent.
    #[non_exhaustive]
    MissingField {
        /// The field, such as `data.presenceStatus`.
        field: &'static str,
    },
    /// The type is known, but a field that it needs holds something else.
    #[non_exhaustive]
    InvalidField {
        /// The field, such as `data.workspaceId`.
        field: &'static str,
        /// What it should have held, such as `a UUID`.
        expected: &'static str,
    },
}

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType => f.write_str("its type is not known to this version"),
            Self::MissingField { field } => write!(f, "its field `{field}` is missing"),
            Self::InvalidField { field, expected } => write!(f, "its field `{field}` is not {expected}"),
        }
    }
}
