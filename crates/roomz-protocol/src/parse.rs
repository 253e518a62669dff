//! Parses a body to an event.
//!
//! One pass over the body finds the members that are read, as raw JSON, so that a syntax error anywhere in
//! the body is reported as a syntax error. Then each member is parsed.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::data::{EventData, UnknownData, UnknownReason};
use crate::event::Event;
use crate::event_type::EventType;
use crate::parse_error::ParseError;
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
    /// [`ParseError`] if the body is not UTF-8, is not exactly one JSON object, repeats a key that is read,
    /// or has no readable `id` or `type`. An unknown type, and a timestamp or data that is missing or
    /// unreadable, are not errors; the event becomes [`EventData::Unknown`].
    ///
    /// ```
    /// use roomz_protocol::{Event, ParseError};
    ///
    /// let error = Event::parse(br#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4"}"#).unwrap_err();
    /// assert_eq!(error.to_string(), "the field `type` is missing");
    /// assert!(matches!(error, ParseError::MissingField { field: "type", .. }));
    /// ```
    pub fn parse(body: &[u8]) -> Result<Self, ParseError> {
        // serde_json does not validate the UTF-8 of strings that it skips.
        let text = std::str::from_utf8(body)
            .map_err(|error| ParseError::NotUtf8 { valid_up_to: error.valid_up_to() })?;
        if text.starts_with('\u{feff}') {
            return Err(ParseError::ByteOrderMark);
        }

        let [id, event_type, timestamp, api_version, data] =
            find_members(text, "", ["id", "type", "timestamp", "apiVersion", "data"])?;
        let id = required_string("id", id)?;
        let event_type = required_string("type", event_type)?;

        let event_type = EventType::new(&event_type);
        let timestamp = parse_timestamp(timestamp);
        let data = parse_data(&event_type, timestamp.as_ref().err(), data, text)?;
        Ok(Self {
            id: id.parse().map_err(|_| ParseError::InvalidField { field: "id", expected: "a UUID" })?,
            event_type,
            timestamp: timestamp.ok(),
            api_version: api_version.and_then(string_or_number),
            data,
        })
    }
}

fn parse_timestamp(value: Option<&RawValue>) -> Result<Timestamp, ParseError> {
    let text = required_string("timestamp", value)?;
    timestamp::parse(&text).ok_or(ParseError::InvalidField {
        field: "timestamp",
        expected: "an RFC 3339 date-time with an offset up to 9999-12-30T22:00:00Z, such as 2024-05-21T08:22:32.452Z",
    })
}

/// An error rejects the body.
fn parse_data(
    event_type: &EventType,
    timestamp_error: Option<&ParseError>,
    data: Option<&RawValue>,
    event: &str,
) -> Result<EventData, ParseError> {
    // Other types may have no `data`: the first draft of ROOMZ's documentation has the ids at top level.
    let mut reason = UnknownReason::UnknownType;
    if *event_type == EventType::WORKSPACE_PRESENCE_CHANGED {
        let data = data.ok_or(ParseError::MissingField { field: "data" });
        reason = match (data.and_then(|data| parse_presence_changed(data.get())), timestamp_error) {
            (Ok(change), None) => return Ok(EventData::WorkspacePresenceChanged(change)),
            (Err(error @ ParseError::RepeatedKey { .. }), _) => return Err(error),
            (_, Some(error)) => UnknownReason::InvalidData(error.clone()),
            (Err(error), None) => UnknownReason::InvalidData(error),
        };
    }
    Ok(EventData::Unknown(UnknownData::new(event, reason)))
}

fn parse_presence_changed(json: &str) -> Result<WorkspacePresenceChanged, ParseError> {
    const WORKSPACE_ID: &str = "data.workspaceId";
    const PRESENCE_STATUS: &str = "data.presenceStatus";
    let [workspace_id, presence_status] = find_members(json, "data.", [WORKSPACE_ID, PRESENCE_STATUS])
        .map_err(|error| match error {
            ParseError::RepeatedKey { .. } => error,
            _ => ParseError::InvalidField { field: "data", expected: "an object" },
        })?;
    let workspace_id = required_string(WORKSPACE_ID, workspace_id)?;
    let presence_status = required_string(PRESENCE_STATUS, presence_status)?;
    let workspace_id = workspace_id
        .parse()
        .map_err(|_| ParseError::InvalidField { field: WORKSPACE_ID, expected: "a UUID" })?;
    Ok(WorkspacePresenceChanged { workspace_id, presence_status: PresenceStatus::new(&presence_status) })
}

fn required_string<'a>(field: &'static str, value: Option<&'a RawValue>) -> Result<Cow<'a, str>, ParseError> {
    let value = value.ok_or(ParseError::MissingField { field })?;
    string(value).ok_or(ParseError::InvalidField { field, expected: "a string" })
}

fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    // A string without escapes is the text between the quotes, so it needs neither decoding nor a copy.
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        // Without an early end, so that the compiler compares many bytes at once: `contains` takes 600 of the
        // 35 500 instructions of a new event more.
        Some(plain) if !plain.bytes().fold(false, |found, byte| found | (byte == b'\\')) => {
            Some(Cow::Borrowed(plain))
        }
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

/// Finds the members of one JSON object: `fields` are their keys with a prefix.
///
/// All other members are skipped. Skipping needs no stack, however deep a value nests.
fn find_members<'a, const N: usize>(
    json: &'a str,
    prefix: &str,
    fields: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], ParseError> {
    let mut members = Members { prefix: prefix.len(), fields, values: [None; N], repeated: None };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.deserialize_map(&mut members).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => ParseError::NotAnObject,
        _ => ParseError::NotJson { line: error.line(), column: error.column() },
    })?;
    deserializer
        .end()
        .map_err(|error| ParseError::TrailingData { line: error.line(), column: error.column() })?;
    match members.repeated {
        Some(key) => Err(ParseError::RepeatedKey { key }),
        None => Ok(members.values),
    }
}

struct Members<'a, const N: usize> {
    /// The length of the prefix that the fields have and their keys do not.
    prefix: usize,
    fields: [&'static str; N],
    values: [Option<&'a RawValue>; N],
    repeated: Option<&'static str>,
}

impl<'de, const N: usize> Visitor<'de> for &mut Members<'de, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // As raw JSON, because a key that is not read may hold an unpaired surrogate.
        while let Some(key) = map.next_key::<&RawValue>()? {
            let key = string(key);
            let index = self.fields.iter().position(|field| field.get(self.prefix..) == key.as_deref());
            match index.and_then(|index| self.values.get_mut(index).zip(self.fields.get(index))) {
                Some((slot @ None, _)) => *slot = Some(map.next_value()?),
                known => {
                    if let Some((_, field)) = known {
                        self.repeated.get_or_insert(field);
                    }
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}
