//! The JSON form of events and their parts, with the feature `serde`.

#![cfg(feature = "serde")]

use std::collections::HashMap;
use std::fmt::Debug;

use proptest::prelude::*;
use roomz_protocol::testing::TestEvent;
use roomz_protocol::{
    Event, EventData, EventId, EventType, Latest, PresenceStatus, Timestamp, UntrustedText, Uuid,
    WorkspaceId, WorkspacePresenceChanged,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The example of the public specification, without white space.
const PUBLISHED: &str = r#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4","type":"workspace.presence.changed","timestamp":"2024-05-21T08:22:32.452Z","apiVersion":"1.0","data":{"workspaceId":"e6ae112e-2af3-4d72-894b-03435d7afde4","presenceStatus":"Busy"}}"#;

fn parse(json: &str) -> Event {
    Event::parse(json.as_bytes()).unwrap()
}

/// Checks the JSON of a value, and that the JSON deserializes to the same value.
fn assert_json<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: &Value) {
    assert_eq!(&serde_json::to_value(value).unwrap(), json);
    assert_eq!(&serde_json::from_value::<T>(json.clone()).unwrap(), value);
    assert_eq!(&serde_json::from_str::<T>(&json.to_string()).unwrap(), value);
}

#[test]
fn event_has_published_form() {
    let event = parse(PUBLISHED);
    assert_eq!(serde_json::to_string(&event).unwrap(), PUBLISHED);
    assert_json(&event, &serde_json::from_str(PUBLISHED).unwrap());

    let typed = event.typed::<WorkspacePresenceChanged>().unwrap();
    assert_eq!(serde_json::to_string(&typed).unwrap(), PUBLISHED);
    assert_json(&typed, &serde_json::from_str(PUBLISHED).unwrap());
}

#[test]
fn event_without_version_omits_it() {
    let json = PUBLISHED.replace(r#""apiVersion":"1.0","#, "");
    assert_eq!(serde_json::to_string(&parse(&json)).unwrap(), json);
}

/// Other accepted spellings are serialized in the published spelling.
#[test]
fn event_is_normalized() {
    let json = PUBLISHED
        .replace("e6ae112e-2af3-4d72-894b-03435d7afde4", "E6AE112E2AF34D72894B03435D7AFDE4")
        .replace("08:22:32.452Z", "10:22:32.452+0200")
        .replace("Busy", "busy")
        .replace(r#""1.0""#, "1.0")
        .replace(r#""data""#, r#""battery":3,"data""#);
    assert_eq!(serde_json::to_string(&parse(&json)).unwrap(), PUBLISHED);
}

/// An unknown event keeps every byte of its JSON except surrounding white space.
#[test]
fn unknown_event_is_unchanged() {
    let unknown_type = PUBLISHED.replace("presence.changed", "booked").replace(':', " : ");
    let unknown_data = PUBLISHED.replace("Busy", "").replace(r#""""#, "1.50");
    for json in [unknown_type.replace("08 : 22 : 32", "08:22:32"), unknown_data] {
        let event = parse(&format!(" {json}\n"));
        let EventData::Unknown(unknown) = &event.data else { unreachable!("{event:?}") };
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
        assert_eq!(serde_json::to_string(unknown).unwrap(), json);
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), parse(&json));
        let error = serde_json::from_str::<Event<WorkspacePresenceChanged>>(&json).unwrap_err();
        assert!(error.to_string().starts_with(&unknown.reason().to_string()), "{error}");
    }
}

#[test]
fn unknown_event_may_nest_deeply() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let json = PUBLISHED.replace("presence.changed", "booked").replace(r#""1.0""#, &deep);
    let event: Event = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&event).unwrap(), json);
}

#[test]
fn event_fits_into_other_json() {
    let events: Vec<Event> = serde_json::from_str(&format!("[{PUBLISHED},{PUBLISHED}]")).unwrap();
    assert_eq!(events, [parse(PUBLISHED), parse(PUBLISHED)]);
    assert_eq!(serde_json::to_string(&events).unwrap(), format!("[{PUBLISHED},{PUBLISHED}]"));
    let from_reader: Event = serde_json::from_reader(PUBLISHED.as_bytes()).unwrap();
    assert_eq!(from_reader, parse(PUBLISHED));
}

/// Deserialization rejects what `Event::parse` rejects, with the same message.
#[test]
fn deserialization_is_strict() {
    for json in [
        "[]".to_owned(),
        "null".to_owned(),
        PUBLISHED.replace(r#""type""#, r#""other""#),
        PUBLISHED.replace(r#""id":"e6ae112e"#, r#""id":"x6ae112e"#),
        PUBLISHED.replace(r#"{"id""#, r#"{"\u0069d":1,"id""#),
        PUBLISHED.replace(r#"{"workspaceId""#, r#"{"presenceStatus":"Free","workspaceId""#),
        format!(r#"["e6ae112e-2af3-4d72-894b-03435d7afde4",{PUBLISHED}]"#),
    ] {
        let expected = Event::parse(json.as_bytes()).unwrap_err().to_string();
        let error = serde_json::from_str::<Event>(&json).unwrap_err().to_string();
        assert!(error.starts_with(&expected), "{error:?} does not start with {expected:?}");
    }
}

/// The JSON of an event with an unreadable timestamp is kept. A timestamp that a program removed is an error.
#[test]
fn event_without_timestamp_has_the_json_it_came_with() {
    let json = PUBLISHED.replace("08:22:32.452Z", "08:22");
    let event: Event = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&event).unwrap(), json);
    assert!(serde_json::from_str::<Event<WorkspacePresenceChanged>>(&json).is_err());

    let mut event = parse(PUBLISHED);
    event.timestamp = None;
    assert_eq!(event.typed::<WorkspacePresenceChanged>(), None);
    assert_eq!(serde_json::to_string(&event).unwrap_err().to_string(), "the event has no timestamp");
}

/// An offset can move a timestamp of year 0 into year -1, which `Event::parse` cannot read.
#[test]
fn rejects_timestamp_before_year_zero() {
    let event = parse(&PUBLISHED.replace("2024-05-21T08:22:32.452Z", "0000-01-01T00:00:00+01:00"));
    let error = serde_json::to_string(&event).unwrap_err().to_string();
    assert!(error.contains("is before year 0"), "{error}");
}

#[test]
fn parts_have_plain_form() {
    let uuid = Uuid::from_u128(0xe6ae_112e_2af3_4d72_894b_0343_5d7a_fde4);
    let text = "e6ae112e-2af3-4d72-894b-03435d7afde4";
    assert_json(&EventId::from(uuid), &json!(text));
    assert_json(&WorkspaceId::from(uuid), &json!(text));
    assert_json(&EventType::WORKSPACE_PRESENCE_CHANGED, &json!("workspace.presence.changed"));
    assert_json(&EventType::new("evil\u{1b}\""), &json!("evil\u{1b}\""));
    assert_json(&PresenceStatus::Free, &json!("Free"));
    assert_json(&PresenceStatus::Busy, &json!("Busy"));
    assert_json(&PresenceStatus::new("Away\n"), &json!("Away\n"));
    assert_json(&serde_json::from_value::<UntrustedText>(json!("1.0")).unwrap(), &json!("1.0"));
    let change = parse(PUBLISHED).typed::<WorkspacePresenceChanged>().unwrap().data;
    assert_json(&change, &json!({ "workspaceId": text, "presenceStatus": "Busy" }));
    assert_eq!(serde_json::from_value::<PresenceStatus>(json!("bUSY")).unwrap(), PresenceStatus::Busy);
    assert!(serde_json::from_value::<PresenceStatus>(json!(null)).is_err());
    assert!(serde_json::from_value::<EventId>(json!("7")).is_err());
    assert!(serde_json::from_value::<WorkspacePresenceChanged>(json!({ "workspaceId": text })).is_err());
}

/// The presence of a building: ids as keys of a JSON object, with and without a value.
#[test]
fn latest_has_json_form() {
    let event = parse(PUBLISHED).typed::<WorkspacePresenceChanged>().unwrap();
    let mut latest = Latest::new();
    assert_json(&latest, &json!(null));
    latest.apply(event.id, event.timestamp, event.data.presence_status);
    let text = "e6ae112e-2af3-4d72-894b-03435d7afde4";
    let building = HashMap::from([(event.data.workspace_id, latest)]);
    assert_json(
        &building,
        &json!({ text: { "timestamp": "2024-05-21T08:22:32.452Z", "id": text, "value": "Busy" } }),
    );
}

proptest! {
    /// `Event::parse` reads the JSON of every event as the same event.
    #[test]
    fn round_trips_every_event(
        id in any::<u128>(),
        workspace_id in any::<u128>(),
        second in -62_167_219_200..=253_402_207_200_i64,
        nanosecond in 0..1_000_000_000,
        status in any::<String>(),
        version in prop::option::of(any::<String>()),
        event_type in prop_oneof![Just("workspace.presence.changed".to_owned()), any::<String>()],
    ) {
        let nanosecond = if second == 253_402_207_200 { 0 } else { nanosecond };
        let event = TestEvent::presence(&status)
            .with_id(EventId::from(Uuid::from_u128(id)))
            .with_workspace_id(WorkspaceId::from(Uuid::from_u128(workspace_id)))
            .with_timestamp(Timestamp::new(second, nanosecond).unwrap())
            .with_type(&event_type)
            .with("apiVersion", version);
        let event = Event::parse(&event.body()).unwrap();
        let json = serde_json::to_vec(&event).unwrap();
        prop_assert_eq!(&Event::parse(&json).unwrap(), &event);
        prop_assert_eq!(&serde_json::from_slice::<Event>(&json).unwrap(), &event);
        prop_assert_eq!(event.typed::<WorkspacePresenceChanged>(), serde_json::from_slice(&json).ok());
    }

    /// Deserialization and `Event::parse` accept the same JSON.
    #[test]
    fn deserializes_what_parse_accepts(at in 0..PUBLISHED.len(), byte in any::<u8>()) {
        let mut body = PUBLISHED.as_bytes().to_vec();
        body[at] = byte;
        let parsed = Event::parse(&body);
        match serde_json::from_slice::<Event>(&body) {
            Ok(event) => prop_assert_eq!(parsed.unwrap(), event),
            Err(_) => prop_assert!(parsed.is_err()),
        }
    }
}
