//! Parses a body to an event.
//!
//! One pass over the body finds the members that are read, as raw JSON, so that a syntax error anywhere in the body is
//! reported as a syntax error. Then each member is parsed.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{Deserialize, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::data::{EventData, UnknownData, UnknownReason};
use crate::event::Event;
use crate::event_type::EventType;
use crate::parse_error::{ParseError, ParseErrorKind};
use crate::presence::{PresenceStatus, WorkspacePresenceChanged};
use crate::timestamp;
use crate::untrusted_text::UntrustedText;

impl Event {
    /// Parses an event from the body of a delivery. Verify the signature of the body first.
    ///
    /// The [crate documentation](crate) lists the accepted spellings of each field.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the body is not UTF-8, is not exactly one JSON object, repeats a key that is read, or has no
    /// readable `id`, `type` or `timestamp`, or if an event of a known type has no `data`. Unknown types and unreadable
    /// data are not errors; they become [`EventData::Unknown`].
    ///
    /// ```
    /// use roomz_protocol::{Event, ParseErrorKind};
    ///
    /// let error = Event::parse(br#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4"}"#).unwrap_err();
    /// assert_eq!(error.to_string(), "the field `type` is missing");
    /// assert!(matches!(error.kind(), ParseErrorKind::MissingField { field: "type", .. }));
    /// ```
    pub fn parse(body: &[u8]) -> Result<Self, ParseError> {
        parse_event(body).map_err(ParseError::new)
    }
}

fn parse_event(body: &[u8]) -> Result<Event, ParseErrorKind> {
    // serde_json does not validate the UTF-8 of strings that it skips.
    let text = std::str::from_utf8(body)
        .map_err(|error| ParseErrorKind::NotUtf8 { valid_up_to: error.valid_up_to() })?;
    if text.starts_with('\u{feff}') {
        return Err(ParseErrorKind::ByteOrderMark);
    }

    let [id, event_type, timestamp, api_version, data] =
        find_members(text, ["id", "type", "timestamp", "apiVersion", "data"])?;
    let id = required_string("id", id)?;
    let event_type = required_string("type", event_type)?;
    let timestamp = required_string("timestamp", timestamp)?;

    let event_type = EventType::new(&event_type);
    let data = match parse_data(&event_type, data)? {
        Ok(data) => data,
        Err(reason) => EventData::Unknown(UnknownData::new(text, reason)),
    };
    Ok(Event {
        id: id.parse().map_err(|_| ParseErrorKind::InvalidField { field: "id", expected: "a UUID" })?,
        event_type,
        timestamp: timestamp::parse(&timestamp).ok_or(ParseErrorKind::InvalidField {
            field: "timestamp",
            expected: "an RFC 3339 date-time, such as 2024-05-21T08:22:32.452Z",
        })?,
        api_version: api_version.and_then(string_or_number),
        data,
    })
}

/// The outer error rejects the body. The inner error makes the event [`EventData::Unknown`].
fn parse_data(
    event_type: &EventType,
    data: Option<&RawValue>,
) -> Result<Result<EventData, UnknownReason>, ParseErrorKind> {
    if *event_type == EventType::WORKSPACE_PRESENCE_CHANGED {
        let data = data.ok_or(ParseErrorKind::MissingField { field: "data" })?;
        Ok(parse_presence_changed(data.get())?.map(EventData::WorkspacePresenceChanged))
    } else {
        // Other types may have no `data`: the first draft of ROOMZ's documentation has the ids at top level.
        Ok(Err(UnknownReason::UnknownType))
    }
}

fn parse_presence_changed(
    json: &str,
) -> Result<Result<WorkspacePresenceChanged, UnknownReason>, ParseErrorKind> {
    const WORKSPACE_ID: &str = "data.workspaceId";
    const PRESENCE_STATUS: &str = "data.presenceStatus";
    let [workspace_id, presence_status] = match find_members(json, ["workspaceId", "presenceStatus"]) {
        Ok(members) => members,
        Err(ParseErrorKind::RepeatedKey { key: "workspaceId" }) => {
            return Err(ParseErrorKind::RepeatedKey { key: WORKSPACE_ID });
        }
        Err(ParseErrorKind::RepeatedKey { .. }) => {
            return Err(ParseErrorKind::RepeatedKey { key: PRESENCE_STATUS });
        }
        Err(_) => return Ok(Err(UnknownReason::InvalidField { field: "data", expected: "an object" })),
    };
    let parse_members = || {
        let workspace_id = data_string(WORKSPACE_ID, workspace_id)?;
        let presence_status = data_string(PRESENCE_STATUS, presence_status)?;
        let workspace_id = workspace_id
            .parse()
            .map_err(|_| UnknownReason::InvalidField { field: WORKSPACE_ID, expected: "a UUID" })?;
        Ok(WorkspacePresenceChanged { workspace_id, presence_status: PresenceStatus::new(&presence_status) })
    };
    Ok(parse_members())
}

fn required_string<'a>(
    field: &'static str,
    value: Option<&'a RawValue>,
) -> Result<Cow<'a, str>, ParseErrorKind> {
    let value = value.ok_or(ParseErrorKind::MissingField { field })?;
    string(value).ok_or(ParseErrorKind::InvalidField { field, expected: "a string" })
}

fn data_string<'a>(field: &'static str, value: Option<&'a RawValue>) -> Result<Cow<'a, str>, UnknownReason> {
    let value = value.ok_or(UnknownReason::MissingField { field })?;
    string(value).ok_or(UnknownReason::InvalidField { field, expected: "a string" })
}

fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    // A string without escapes is the text between the quotes, so it needs neither decoding nor a copy.
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        Some(_) => serde_json::from_str(json).ok().map(Cow::Owned),
        None => None,
    }
}

/// The specification gives `apiVersion` no JSON type. Any other JSON type than these two counts as absent.
fn string_or_number(value: &RawValue) -> Option<UntrustedText> {
    match value.get().as_bytes().first()? {
        b'"' => string(value).map(|text| UntrustedText::new(&text)),
        b'-' | b'0'..=b'9' => Some(UntrustedText::new(value.get())),
        _ => None,
    }
}

/// Finds the members of one JSON object that have these keys.
///
/// All other members are skipped. Skipping needs no stack, however deep a value nests.
fn find_members<'a, const N: usize>(
    json: &'a str,
    keys: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], ParseErrorKind> {
    let mut members = Members { keys, values: [None; N], repeated: None };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.deserialize_map(&mut members).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => ParseErrorKind::NotAnObject,
        _ => ParseErrorKind::NotJson { line: error.line(), column: error.column() },
    })?;
    deserializer
        .end()
        .map_err(|error| ParseErrorKind::TrailingData { line: error.line(), column: error.column() })?;
    match members.repeated {
        Some(key) => Err(ParseErrorKind::RepeatedKey { key }),
        None => Ok(members.values),
    }
}

struct Members<'a, const N: usize> {
    keys: [&'static str; N],
    values: [Option<&'a RawValue>; N],
    repeated: Option<&'static str>,
}

impl<'de, const N: usize> Visitor<'de> for &mut Members<'de, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            let slot = self.keys.iter().zip(&mut self.values).find(|(known, _)| **known == key);
            match slot {
                Some((_, slot @ None)) => *slot = Some(map.next_value()?),
                Some((known, Some(_))) => {
                    self.repeated.get_or_insert(known);
                    map.next_value::<IgnoredAny>()?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A key with its escapes decoded. It borrows from the body if it has none.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}
