//! From bytes to an event. The members that are read are first found as raw JSON in one pass over the body, so that
//! a syntax error anywhere is reported as one, and only then understood one by one.

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
use crate::text::UntrustedText;
use crate::timestamp;

pub(crate) fn event(body: &[u8]) -> Result<Event, ParseError> {
    // serde_json would let invalid UTF-8 pass inside what it skips.
    let text = std::str::from_utf8(body)
        .map_err(|error| ParseErrorKind::NotUtf8 { valid_up_to: error.valid_up_to() })?;
    if text.starts_with('\u{feff}') {
        return Err(ParseErrorKind::ByteOrderMark.into());
    }

    let [id, event_type, timestamp, api_version, data] =
        members(text, ["id", "type", "timestamp", "apiVersion", "data"])?;
    let id = text_field("id", id)?;
    let event_type = text_field("type", event_type)?;
    let timestamp = text_field("timestamp", timestamp)?;
    let data = data.ok_or(ParseErrorKind::MissingField { field: "data" })?;

    let event_type = EventType::new(&event_type);
    let data = match typed_data(&event_type, data.get())? {
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
        api_version: api_version.and_then(text_or_number),
        data,
    })
}

/// The outer error refuses the body; the inner one makes the event an unknown one.
fn typed_data(event_type: &EventType, json: &str) -> Result<Result<EventData, UnknownReason>, ParseError> {
    if *event_type == EventType::WORKSPACE_PRESENCE_CHANGED {
        Ok(presence_changed(json)?.map(EventData::WorkspacePresenceChanged))
    } else {
        Ok(Err(UnknownReason::UnknownType))
    }
}

fn presence_changed(json: &str) -> Result<Result<WorkspacePresenceChanged, UnknownReason>, ParseError> {
    const WORKSPACE_ID: &str = "data.workspaceId";
    const PRESENCE_STATUS: &str = "data.presenceStatus";
    let [workspace_id, presence_status] = match members(json, ["workspaceId", "presenceStatus"]) {
        Ok(members) => members,
        Err(error) => {
            return match error.kind() {
                ParseErrorKind::RepeatedKey { key: "workspaceId" } => {
                    Err(ParseErrorKind::RepeatedKey { key: WORKSPACE_ID }.into())
                }
                ParseErrorKind::RepeatedKey { .. } => {
                    Err(ParseErrorKind::RepeatedKey { key: PRESENCE_STATUS }.into())
                }
                _ => Ok(Err(UnknownReason::InvalidField { field: "data", expected: "an object" })),
            };
        }
    };
    let read = || {
        let workspace_id = data_text_field(WORKSPACE_ID, workspace_id)?;
        let presence_status = data_text_field(PRESENCE_STATUS, presence_status)?;
        let workspace_id = workspace_id
            .parse()
            .map_err(|_| UnknownReason::InvalidField { field: WORKSPACE_ID, expected: "a UUID" })?;
        Ok(WorkspacePresenceChanged { workspace_id, presence_status: PresenceStatus::new(&presence_status) })
    };
    Ok(read())
}

fn text_field<'a>(field: &'static str, value: Option<&'a RawValue>) -> Result<Cow<'a, str>, ParseErrorKind> {
    let value = value.ok_or(ParseErrorKind::MissingField { field })?;
    text(value).ok_or(ParseErrorKind::InvalidField { field, expected: "a text" })
}

fn data_text_field<'a>(
    field: &'static str,
    value: Option<&'a RawValue>,
) -> Result<Cow<'a, str>, UnknownReason> {
    let value = value.ok_or(UnknownReason::MissingField { field })?;
    text(value).ok_or(UnknownReason::InvalidField { field, expected: "a text" })
}

fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    // Without an escape the text is what stands between the quotes: nothing to decode, nothing to copy.
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        Some(_) => serde_json::from_str(json).ok().map(Cow::Owned),
        None => None,
    }
}

/// `apiVersion` has no JSON type in the specification; it is not worth refusing an event for.
fn text_or_number(value: &RawValue) -> Option<UntrustedText> {
    match value.get().as_bytes().first()? {
        b'"' => text(value).map(|text| UntrustedText::new(&text)),
        b'-' | b'0'..=b'9' => Some(UntrustedText::new(value.get())),
        _ => None,
    }
}

/// The members of one JSON object with these keys, and nothing after the object. All other members are skipped,
/// which needs no stack however deep they nest.
fn members<'a, const N: usize>(
    json: &'a str,
    keys: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], ParseError> {
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
        Some(key) => Err(ParseErrorKind::RepeatedKey { key }.into()),
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

/// A key with its escapes resolved, borrowed where there are none.
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
