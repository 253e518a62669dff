//! What is read how: the published example, its contradictions, and what is refused.

#![allow(clippy::unwrap_used, clippy::panic)] // in helpers; a test may

use proptest::prelude::*;
use roomz_protocol::testing::TestEvent;
use roomz_protocol::{
    Event, EventData, EventType, ParseErrorKind, PresenceStatus, UnknownReason, UntrustedText,
    WorkspacePresenceChanged,
};

/// The example of the public specification.
const PUBLISHED: &str = r#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4","type":"workspace.presence.changed",
 "timestamp":"2024-05-21T08:22:32.452Z","apiVersion":"1.0",
 "data":{"workspaceId":"e6ae112e-2af3-4d72-894b-03435d7afde4","presenceStatus":"Busy"}}"#;

fn parse(json: &str) -> Result<Event, String> {
    Event::parse(json.as_bytes()).map_err(|error| error.to_string())
}

fn change(json: &str) -> WorkspacePresenceChanged {
    match parse(json).unwrap().data {
        EventData::WorkspacePresenceChanged(change) => change,
        other => panic!("{other:?}"),
    }
}

fn reason(json: &str) -> UnknownReason {
    match parse(json).unwrap().data {
        EventData::Unknown(unknown) => {
            assert_eq!(unknown.json(), json, "the whole JSON is kept");
            unknown.reason().clone()
        }
        other => panic!("{other:?}"),
    }
}

fn with_data(data: &str) -> String {
    PUBLISHED.split_once("\"data\":").unwrap().0.to_owned() + "\"data\":" + data + "}"
}

#[test]
fn reads_the_published_example() {
    let event = parse(PUBLISHED).unwrap();
    assert_eq!(event.id.to_string(), "e6ae112e-2af3-4d72-894b-03435d7afde4");
    assert_eq!(event.event_type, EventType::WORKSPACE_PRESENCE_CHANGED);
    assert_eq!(event.timestamp.to_string(), "2024-05-21T08:22:32.452Z");
    assert_eq!(event.api_version.as_ref().map(UntrustedText::as_str), Some("1.0"));
    let change = event.typed::<WorkspacePresenceChanged>().unwrap().data;
    assert_eq!(change.workspace_id.to_string(), "e6ae112e-2af3-4d72-894b-03435d7afde4");
    assert_eq!(change.presence_status, PresenceStatus::Busy);
}

#[test]
fn every_spelling_of_an_id_is_one_id() {
    let expected = parse(PUBLISHED).unwrap().id;
    for spelling in [
        "E6AE112E-2AF3-4D72-894B-03435D7AFDE4",
        "e6ae112e2af34d72894b03435d7afde4",
        "{e6ae112e-2af3-4d72-894b-03435d7afde4}",
        "urn:uuid:e6ae112e-2af3-4d72-894b-03435d7afde4",
        r"\u00656ae112e-2af3-4d72-894b-03435d7afde4",
    ] {
        let json = PUBLISHED.replacen("e6ae112e-2af3-4d72-894b-03435d7afde4", spelling, 1);
        assert_eq!(parse(&json).unwrap().id, expected, "{spelling}");
    }
}

#[test]
fn a_status_is_read_in_any_case_and_any_other_text_is_kept() {
    let status = |text: &str| change(&PUBLISHED.replace("Busy", text)).presence_status;
    for text in ["Busy", "busy", "BUSY", r"Bus\u0079"] {
        assert_eq!(status(text), PresenceStatus::Busy, "{text}");
    }
    for text in ["Free", "free", "fREE"] {
        assert_eq!(status(text), PresenceStatus::Free, "{text}");
    }
    for text in ["", " Free", "Free ", "Offline", "Freee", "F\u{280}ee", "0"] {
        match status(text) {
            PresenceStatus::Other(found) => assert_eq!(found.as_str(), text),
            other => panic!("{text:?} was read as {other:?}"),
        }
    }
}

#[test]
fn data_that_does_not_fit_its_type_is_unknown_and_never_free() {
    let invalid = |field, expected| (field, Some(expected));
    let missing = |field| (field, None);
    for (data, (field, expected)) in [
        ("null", invalid("data", "an object")),
        ("[]", invalid("data", "an object")),
        (r#""Busy""#, invalid("data", "an object")),
        (r#"{"presenceStatus":"Free"}"#, missing("data.workspaceId")),
        (r#"{"workspaceId":"desk 7","presenceStatus":"Free"}"#, invalid("data.workspaceId", "a UUID")),
        (r#"{"workspaceId":7,"presenceStatus":"Free"}"#, invalid("data.workspaceId", "a text")),
        (r#"{"workspaceId":"e6ae112e-2af3-4d72-894b-03435d7afde4"}"#, missing("data.presenceStatus")),
        (
            r#"{"workspaceId":"e6ae112e-2af3-4d72-894b-03435d7afde4","presenceStatus":null}"#,
            invalid("data.presenceStatus", "a text"),
        ),
        (
            r#"{"workspaceId":"e6ae112e-2af3-4d72-894b-03435d7afde4","presences":["Free"]}"#,
            missing("data.presenceStatus"),
        ),
        (
            r#"["e6ae112e-2af3-4d72-894b-03435d7afde4","Free"]"#, // a derived struct would take this
            invalid("data", "an object"),
        ),
    ] {
        match reason(&with_data(data)) {
            UnknownReason::MissingField { field: found, .. } => {
                assert_eq!((found, None), (field, expected), "{data}");
            }
            UnknownReason::InvalidField { field: found, expected: found_expected, .. } => {
                assert_eq!((found, Some(found_expected)), (field, expected), "{data}");
            }
            other => panic!("{data}: {other:?}"),
        }
    }
}

#[test]
fn an_unknown_type_keeps_the_whole_json_whatever_its_data_is() {
    for data in ["{}", "null", "[1]", r#"{"workspaceId":1,"workspaceId":2}"#] {
        let json = with_data(data).replace("workspace.presence.changed", "workspace.status.updated");
        assert_eq!(reason(&json), UnknownReason::UnknownType);
    }
}

#[test]
fn more_fields_are_ignored_in_any_order() {
    let json = r#"{"data":{"presenceStatus":"Free","battery":3,"workspaceId":"e6ae112e-2af3-4d72-894b-03435d7afde4"},
        "new":{"deep":[1,{"id":2}]},"timestamp":"2024-02-02T09:13:44+0000","Id":1,
        "type":"workspace.presence.changed","id":"e6ae112e-2af3-4d72-894b-03435d7afde5"}"#;
    assert_eq!(change(json).presence_status, PresenceStatus::Free);
    assert_eq!(parse(json).unwrap().api_version, None);
}

#[test]
fn the_api_version_is_optional_and_tolerates_a_number() {
    for (json, expected) in [
        (r#""2.0""#, Some("2.0")),
        ("1.0", Some("1.0")),
        ("-1", Some("-1")),
        ("null", None),
        ("true", None),
        ("{}", None),
    ] {
        let found = parse(&PUBLISHED.replace(r#""1.0""#, json)).unwrap().api_version;
        assert_eq!(found.as_ref().map(UntrustedText::as_str), expected, "{json}");
    }
}

#[test]
fn refuses_what_is_not_one_json_object() {
    for (body, expected) in [
        ("", "the body is not JSON: it goes wrong at line 1, column 0"),
        ("{", "the body is not JSON: it goes wrong at line 1, column 1"),
        ("{]", "the body is not JSON: it goes wrong at line 1, column 2"),
        ("{\"a\":01}", "the body is not JSON: it goes wrong at line 1, column 7"),
        ("{\"a\":\"\u{1}\"}", "the body is not JSON: it goes wrong at line 1, column 6"),
        ("\0{}", "the body is not JSON: it goes wrong at line 1, column 1"),
        ("[]", "the body is JSON, but not an object"),
        ("null", "the body is JSON, but not an object"),
        ("\"text\"", "the body is JSON, but not an object"),
        ("7", "the body is JSON, but not an object"),
        ("\u{feff}{}", "the body begins with a byte order mark, which JSON does not allow"),
        ("{} {}", "something follows the JSON object at line 1, column 4"),
        ("{}\0", "something follows the JSON object at line 1, column 3"),
    ] {
        assert_eq!(parse(body).unwrap_err(), expected, "{body:?}");
    }
    let array = format!("[{}]", PUBLISHED);
    assert_eq!(parse(&array).unwrap_err(), "the body is JSON, but not an object");
    assert!(parse(&format!("{PUBLISHED}\n \t\r\n")).is_ok(), "white space may follow");
}

#[test]
fn refuses_invalid_utf8_even_inside_an_ignored_field() {
    let mut body = br#"{"note":""#.to_vec();
    body.push(0xff);
    body.extend_from_slice(&PUBLISHED.as_bytes()[1..]);
    let error = Event::parse(&body).unwrap_err();
    assert!(matches!(error.kind(), ParseErrorKind::NotUtf8 { valid_up_to: 9, .. }), "{error}");
}

#[test]
fn refuses_a_repeated_key_also_when_it_is_escaped() {
    for (key, json) in [
        ("id", r#""id":"e6ae112e-2af3-4d72-894b-03435d7afde4""#),
        ("id", r#""\u0069d":"e6ae112e-2af3-4d72-894b-03435d7afde5""#),
        ("type", r#""ty\u0070e":null"#),
        ("timestamp", r#""timestamp":"2024-05-21T08:22:32.452Z""#),
        ("apiVersion", r#""apiVersion":1"#),
        ("data", r#""data":{}"#),
    ] {
        for body in [PUBLISHED.replacen('{', &format!("{{{json},"), 1), {
            let (before, _) = PUBLISHED.rsplit_once('}').unwrap();
            format!("{before},{json}}}")
        }] {
            assert_eq!(parse(&body).unwrap_err(), format!("the key `{key}` stands there twice"), "{body}");
        }
    }
    for (key, json) in [
        ("data.presenceStatus", r#""presenceStatus":"Free""#),
        ("data.presenceStatus", r#""presenceStatu\u0073":"Free""#),
        ("data.workspaceId", r#""workspaceId":"e6ae112e-2af3-4d72-894b-03435d7afde5""#),
    ] {
        let body = PUBLISHED.replace("\"data\":{", &format!("\"data\":{{{json},"));
        assert_eq!(parse(&body).unwrap_err(), format!("the key `{key}` stands there twice"), "{body}");
    }
    let unread = PUBLISHED.replacen('{', r#"{"note":1,"note":2,"#, 1);
    assert!(parse(&unread).is_ok(), "a key that is not read may be repeated");
}

#[test]
fn refuses_an_event_without_its_required_fields() {
    for field in ["id", "type", "timestamp", "data"] {
        let error = Event::parse(&TestEvent::busy().without(field).body()).unwrap_err();
        assert_eq!(error.to_string(), format!("the field `{field}` is missing"));
    }
    for (field, value, expected) in [
        ("id", serde_json::json!(7), "a text"),
        ("id", serde_json::json!("7"), "a UUID"),
        ("type", serde_json::json!(["workspace.presence.changed"]), "a text"),
        ("timestamp", serde_json::json!(1_716_279_752), "a text"),
        (
            "timestamp",
            serde_json::json!("yesterday"),
            "an RFC 3339 date-time, such as 2024-05-21T08:22:32.452Z",
        ),
    ] {
        let error = Event::parse(&TestEvent::busy().with(field, value).body()).unwrap_err();
        assert_eq!(error.to_string(), format!("the field `{field}` is not {expected}"));
    }
}

#[test]
fn any_nesting_is_skipped_without_a_stack_overflow() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let ignored = PUBLISHED.replacen('{', &format!("{{\"deep\":{deep},"), 1);
    assert!(parse(&ignored).is_ok());
    assert!(matches!(reason(&with_data(&deep)), UnknownReason::InvalidField { field: "data", .. }));
    let objects = "{\"a\":".repeat(100_000);
    assert!(parse(&objects).unwrap_err().contains("not JSON"));
}

#[test]
fn text_from_outside_cannot_control_a_terminal_or_flood_a_log() {
    let evil = "\u{1b}[2J\n\u{202e}\u{2066}\u{0}é\" level=\"".to_owned() + &"x".repeat(10_000);
    let event = TestEvent::presence(&evil).with("apiVersion", evil.clone());
    let event = Event::parse(&event.body()).unwrap();
    let odd_type = Event::parse(&TestEvent::busy().with_type(&evil).body()).unwrap();
    for shown in [
        format!("{event:?}"),
        format!("{odd_type:?}"),
        odd_type.event_type.to_string(),
        event.typed::<WorkspacePresenceChanged>().unwrap().data.presence_status.to_string(),
    ] {
        assert!(shown.len() < 800, "{} bytes", shown.len());
        assert!(!shown.contains("é\" level"), "{shown}");
        assert!(shown.chars().all(|c| c == '…' || (' '..='~').contains(&c)), "{shown}");
    }
    assert_eq!(odd_type.event_type.as_str(), evil, "the text itself is kept");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Event::parse(&body);
    }

    #[test]
    fn no_change_of_one_byte_makes_it_panic_or_a_busy_desk_free(
        at in 0..PUBLISHED.len(), byte in any::<u8>(),
    ) {
        let mut body = PUBLISHED.as_bytes().to_vec();
        body[at] = byte;
        if let Ok(event) = Event::parse(&body)
            && let EventData::WorkspacePresenceChanged(change) = event.data {
            prop_assert_ne!(change.presence_status, PresenceStatus::Free);
        }
    }

    #[test]
    fn agrees_with_a_full_json_parser_on_what_is_json(
        text in r#"[\[\]{}:,"\\a0-9eE.+\- \ntfru]{0,12}"#,
    ) {
        let ours = Event::parse(text.as_bytes()).map_err(|error| error.kind().clone());
        let json = serde_json::from_str::<serde_json::Value>(&text);
        let syntax = matches!(ours, Err(ParseErrorKind::NotJson { .. } | ParseErrorKind::TrailingData { .. }));
        if json.as_ref().is_ok_and(serde_json::Value::is_object) {
            prop_assert!(!syntax, "{:?}", ours);
        } else if text.trim_start().starts_with('{') {
            prop_assert!(ours.is_err());
        }
    }
}
