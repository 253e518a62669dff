//! `Serialize` and `Deserialize` that cannot be derived.

use serde::de::Error as _;
use serde::ser::{Error as _, SerializeStruct as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::data::{EventData, Payload, UnknownData};
use crate::event::Event;
use crate::event_type::EventType;
use crate::presence::{PresenceStatus, WorkspacePresenceChanged};
use crate::untrusted_text::UntrustedText;

macro_rules! serialize_as_text {
    ($($type:ty),*) => {$(
        /// Serializes the unescaped text.
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        /// Deserializes any text.
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(|text| Self::new(&text))
            }
        }
    )*};
}

serialize_as_text!(EventType, PresenceStatus, UntrustedText);

/// Serializes the JSON that ROOMZ publishes, which [`Event::parse`] reads.
///
/// An [unknown](EventData::Unknown) event is serialized as its [`json`](UnknownData::json), so that changes
/// to the other fields of the event have no effect.
///
/// # Errors
///
/// The timestamp is before year 0, which RFC 3339 cannot express, or the timestamp of an event of a known
/// type was removed.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (&self.data, self.typed::<WorkspacePresenceChanged>()) {
            (EventData::Unknown(unknown), _) => unknown.serialize(serializer),
            (_, Some(event)) => event.serialize(serializer),
            (_, None) => Err(S::Error::custom("the event has no timestamp")),
        }
    }
}

/// Serializes the JSON that ROOMZ publishes, which [`Event::parse`] reads.
///
/// # Errors
///
/// The timestamp is before year 0, which RFC 3339 cannot express.
impl Serialize for Event<WorkspacePresenceChanged> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let timestamp = self.timestamp.to_string();
        // An offset can move a timestamp of year 0 into a negative year, which `Event::parse` cannot read.
        if timestamp.starts_with('-') {
            return Err(S::Error::custom(format_args!(
                "the timestamp {timestamp} is before year 0, which RFC 3339 cannot express"
            )));
        }
        let fields = if self.api_version.is_some() { 5 } else { 4 };
        let mut json = serializer.serialize_struct("Event", fields)?;
        json.serialize_field("id", &self.id)?;
        json.serialize_field("type", &self.event_type)?;
        json.serialize_field("timestamp", &timestamp)?;
        match &self.api_version {
            Some(version) => json.serialize_field("apiVersion", version)?,
            None => json.skip_field("apiVersion")?,
        }
        json.serialize_field("data", &self.data)?;
        json.end()
    }
}

/// Deserializes with [`Event::parse`], so that the same events are accepted. Works with `serde_json` only.
///
/// # Errors
///
/// The JSON is not an event, or its data is not `T`.
impl<'de, T: Payload> Deserialize<'de> for Event<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A derived implementation would accept arrays and reject unknown types, and it could not keep the
        // JSON.
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let event = Event::parse(json.get().as_bytes()).map_err(D::Error::custom)?;
        event.typed().ok_or_else(|| match &event.data {
            EventData::WorkspacePresenceChanged(_) => D::Error::custom("the event has data of another type"),
            EventData::Unknown(unknown) => D::Error::custom(unknown.reason()),
        })
    }
}

/// Serializes the whole event as it was delivered, without surrounding white space. Works with `serde_json`
/// only.
///
/// There is no `Deserialize`, because a later version of this crate may know the type. Deserialize an
/// [`Event`].
impl Serialize for UnknownData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json: &RawValue = serde_json::from_str(self.json()).map_err(S::Error::custom)?;
        json.serialize(serializer)
    }
}
