//! Events: the published example, the accepted spellings, and what is rejected.

use proptest::prelude::*;
use roomz_protocol::testing::TestEvent;
use roomz_protocol::{
    Event, EventData, EventType, ParseError, PresenceStatus, UnknownReason, UntrustedText,
    WorkspacePresenceChanged,
};
use serde_json::json;

/// The example of the public specification.
const PUBLISHED: &str = r#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4","type":"workspace.presence.changed",
 "timestamp":"2024-05-21T08:22:32.452Z","apiVersion":"1.0",
 "data":{"workspaceId":"e6ae112e-2af3-4d72-894b-03435d7afde4","presenceStatus":"Busy"}}"#;

const NOT_A_DATE_TIME: &str = "the field `timestamp` is not an RFC 3339 date-time with an offset up to \
                               9999-12-30T22:00:00Z, such as 2024-05-21T08:22:32.452Z";

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
            assert_eq!(unknown.json(), json, "the JSON is unchanged");
            unknown.reason().clone()
        }
        other => panic!("{other:?}"),
    }
}

fn with_data(data: &str) -> String {
    PUBLISHED.split_once("\"data\":").unwrap().0.to_owned() + "\"data\":" + data + "}"
}

#[test]
fn parses_published_example() {
    let event = parse(PUBLISHED).unwrap();
    assert_eq!(event.id.to_string(), "e6ae112e-2af3-4d72-894b-03435d7afde4");
    assert_eq!(event.event_type, EventType::WORKSPACE_PRESENCE_CHANGED);
    assert_eq!(event.timestamp.unwrap().to_string(), "2024-05-21T08:22:32.452Z");
    assert_eq!(event.api_version.as_ref().map(UntrustedText::as_str), Some("1.0"));
    let change = event.typed::<WorkspacePresenceChanged>().unwrap().data;
    assert_eq!(change.workspace_id.to_string(), "e6ae112e-2af3-4d72-894b-03435d7afde4");
    assert_eq!(change.presence_status, PresenceStatus::Busy);
}

#[test]
fn accepts_every_spelling_of_id() {
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
fn status_ignores_case_and_keeps_other_text() {
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
            other => panic!("{text:?} was parsed as {other:?}"),
        }
    }
}

/// JSON allows it in every string, and a key that is not read is ignored.
#[test]
fn accepts_unpaired_surrogate_in_other_key() {
    let json =
        PUBLISHED.replacen('{', r#"{"\ud800":1,"#, 1).replacen(r#""data":{"#, r#""data":{"\udc00a":2,"#, 1);
    assert_eq!(parse(&json), parse(PUBLISHED));
    assert!(parse(&json.replace(r#""\udc00a":2"#, r#""\udc0":2"#)).is_err(), "a syntax error in a key");
}

/// Data of a known type that cannot be read makes the event unknown. The status is never read as `Free`.
#[test]
fn unreadable_data_is_unknown() {
    let invalid = |field, expected| (field, Some(expected));
    let missing = |field| (field, None);
    for (data, (field, expected)) in [
        ("null", invalid("data", "an object")),
        ("[]", invalid("data", "an object")),
        (r#""Busy""#, invalid("data", "an object")),
        (r#"{"presenceStatus":"Free"}"#, missing("data.workspaceId")),
        (r#"{"workspaceId":"desk 7","presenceStatus":"Free"}"#, invalid("data.workspaceId", "a UUID")),
        (r#"{"workspaceId":7,"presenceStatus":"Free"}"#, invalid("data.workspaceId", "a string")),
        (r#"{"workspaceId":"e6ae112e-2af3-4d72-894b-03435d7afde4"}"#, missing("data.presenceStatus")),
        (
            r#"{"workspaceId":"e6ae112e-2af3-4d72-894b-03435d7afde4","presenceStatus":null}"#,
            invalid("data.presenceStatus", "a string"),
        ),
        (
            r#"{"workspaceId":"e6ae112e-2af3-4d72-894b-03435d7afde4","presences":["Free"]}"#,
            missing("data.presenceStatus"),
        ),
        (
            r#"["e6ae112e-2af3-4d72-894b-03435d7afde4","Free"]"#, // A derived `Deserialize` would accept this.
            invalid("data", "an object"),
        ),
    ] {
        match reason(&with_data(data)) {
            UnknownReason::InvalidData(ParseError::MissingField { field: found, .. }) => {
                assert_eq!((found, None), (field, expected), "{data}");
            }
            UnknownReason::InvalidData(ParseError::InvalidField {
                field: found,
                expected: found_expected,
                ..
            }) => {
                assert_eq!((found, Some(found_expected)), (field, expected), "{data}");
            }
            other => panic!("{data}: {other:?}"),
        }
    }
}

/// A change of the timestamp's format must not lose the event, and must not be guessed.
#[test]
fn unreadable_timestamp_is_unknown() {
    for (timestamp, expected) in [
        (None, "the field `timestamp` is missing"),
        (Some(json!(1_716_279_752)), "the field `timestamp` is not a string"),
        (Some(json!(null)), "the field `timestamp` is not a string"),
        (Some(json!("2024-05-21T08:22:32")), NOT_A_DATE_TIME),
        (Some(json!("2024-05-21 08:22:32Z")), NOT_A_DATE_TIME),
        (Some(json!("1716279752")), NOT_A_DATE_TIME),
        (Some(json!("Tue, 21 May 2024 08:22:32 GMT")), NOT_A_DATE_TIME),
        (Some(json!("9999-12-31T23:59:59.9999999+00:00")), NOT_A_DATE_TIME),
        (Some(json!("")), NOT_A_DATE_TIME),
    ] {
        let with_timestamp = |event: TestEvent| match &timestamp {
            Some(value) => event.with("timestamp", value.clone()).body(),
            None => event.without("timestamp").body(),
        };
        let known = Event::parse(&with_timestamp(TestEvent::busy())).unwrap();
        let EventData::Unknown(unknown) = &known.data else { panic!("{timestamp:?}") };
        assert_eq!((unknown.reason().to_string().as_str(), known.timestamp), (expected, None));
        assert_eq!(known.typed::<WorkspacePresenceChanged>(), None);

        let other = Event::parse(&with_timestamp(TestEvent::busy().with_type("workspace.booked"))).unwrap();
        let EventData::Unknown(unknown) = &other.data else { panic!("{timestamp:?}") };
        assert_eq!((unknown.reason(), other.timestamp), (&UnknownReason::UnknownType, None));
    }
}

#[test]
fn missing_data_is_unknown() {
    let body = TestEvent::busy().without("data").body();
    let event = Event::parse(&body).unwrap();
    let EventData::Unknown(unknown) = &event.data else { panic!("{event:?}") };
    assert_eq!(unknown.reason().to_string(), "the field `data` is missing");
    assert_eq!(unknown.json().as_bytes(), body);
    assert!(event.timestamp.is_some());
}

/// Two parsers could read two different events.
#[test]
fn repeated_key_is_rejected_whatever_is_unreadable() {
    let body = PUBLISHED
        .replace("2024-05-21T08", "2024-05-21 08")
        .replace("\"data\":{", "\"data\":{\"presenceStatus\":1,");
    assert_eq!(parse(&body).unwrap_err(), "the key `data.presenceStatus` occurs more than once");
}

#[test]
fn unknown_type_keeps_json() {
    for data in ["{}", "null", "[1]", r#"{"workspaceId":1,"workspaceId":2}"#] {
        let json = with_data(data).replace("workspace.presence.changed", "workspace.status.updated");
        assert_eq!(reason(&json), UnknownReason::UnknownType);
    }
}

/// The ten event types of the first draft (pull request 1 of `roomz-io/openapi`) have ids at top level and no
/// `data`.
#[test]
fn accepts_unknown_type_without_data() {
    let resources = [
        ("building", "buildingId", &["created", "deleted", "updated"][..]),
        ("floor", "floorId", &["created", "deleted", "updated"][..]),
        ("workspace", "workspaceId", &["created", "deleted", "updated", "status.updated"][..]),
    ];
    for (resource, id, changes) in resources {
        for change in changes {
            let body = format!(
                r#"{{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4","type":"{resource}.{change}",
                    "timestamp":"2024-02-02T09:13:44+0000","{id}":"5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5"}}"#
            );
            let event = Event::parse(body.as_bytes()).unwrap();
            assert_eq!(event.event_type.as_str(), format!("{resource}.{change}"));
            let EventData::Unknown(unknown) = event.data else { panic!("{body}") };
            assert_eq!((unknown.reason(), unknown.json()), (&UnknownReason::UnknownType, body.as_str()));
        }
    }
}

/// The first draft says `None` for a workspace without sensors and `Undefined` for a sensor with a fault.
#[test]
fn draft_statuses_are_not_free() {
    for text in ["None", "Undefined"] {
        let status = PresenceStatus::new(text);
        assert!(matches!(&status, PresenceStatus::Other(other) if other.as_str() == text), "{status:?}");
    }
}

#[test]
fn ignores_other_fields_and_order() {
    let json = r#"{"data":{"presenceStatus":"Free","battery":3,"workspaceId":"e6ae112e-2af3-4d72-894b-03435d7afde4"},
        "new":{"deep":[1,{"id":2}]},"timestamp":"2024-02-02T09:13:44+0000","Id":1,
        "type":"workspace.presence.changed","id":"e6ae112e-2af3-4d72-894b-03435d7afde5"}"#;
    assert_eq!(change(json).presence_status, PresenceStatus::Free);
    assert_eq!(parse(json).unwrap().api_version, None);
}

#[test]
fn api_version_is_optional() {
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
fn rejects_anything_but_one_object() {
    for (body, expected) in [
        ("", "the body is not JSON: syntax error at line 1, column 0"),
        ("{", "the body is not JSON: syntax error at line 1, column 1"),
        ("{]", "the body is not JSON: syntax error at line 1, column 2"),
        ("{\"a\":01}", "the body is not JSON: syntax error at line 1, column 7"),
        ("{\"a\":\"\u{1}\"}", "the body is not JSON: syntax error at line 1, column 6"),
        ("\0{}", "the body is not JSON: syntax error at line 1, column 1"),
        ("[]", "the body is JSON, but not an object"),
        ("null", "the body is JSON, but not an object"),
        ("\"text\"", "the body is JSON, but not an object"),
        ("7", "the body is JSON, but not an object"),
        ("\u{feff}{}", "the body begins with a byte order mark, which JSON does not allow"),
        ("{} {}", "the body has data after the JSON object at line 1, column 4"),
        ("{}\0", "the body has data after the JSON object at line 1, column 3"),
    ] {
        assert_eq!(parse(body).unwrap_err(), expected, "{body:?}");
    }
    let array = format!("[{}]", PUBLISHED);
    assert_eq!(parse(&array).unwrap_err(), "the body is JSON, but not an object");
    assert!(parse(&format!("{PUBLISHED}\n \t\r\n")).is_ok(), "white space after the object is valid");
}

#[test]
fn rejects_invalid_utf8_in_ignored_field() {
    let mut body = br#"{"note":""#.to_vec();
    body.push(0xff);
    body.extend_from_slice(&PUBLISHED.as_bytes()[1..]);
    let error = Event::parse(&body).unwrap_err();
    assert!(matches!(error, ParseError::NotUtf8 { valid_up_to: 9, .. }), "{error}");
}

/// Rejects a repeated key that is read, also in an escaped spelling. Other keys may be repeated.
#[test]
fn rejects_repeated_key() {
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
            assert_eq!(parse(&body).unwrap_err(), format!("the key `{key}` occurs more than once"), "{body}");
        }
    }
    for (key, json) in [
        ("data.presenceStatus", r#""presenceStatus":"Free""#),
        ("data.presenceStatus", r#""presenceStatu\u0073":"Free""#),
        ("data.workspaceId", r#""workspaceId":"e6ae112e-2af3-4d72-894b-03435d7afde5""#),
    ] {
        let body = PUBLISHED.replace("\"data\":{", &format!("\"data\":{{{json},"));
        assert_eq!(parse(&body).unwrap_err(), format!("the key `{key}` occurs more than once"), "{body}");
    }
    let ignored_key = PUBLISHED.replacen('{', r#"{"note":1,"note":2,"#, 1);
    assert!(parse(&ignored_key).is_ok(), "an ignored key may be repeated");
}

#[test]
fn rejects_missing_or_invalid_fields() {
    for field in ["id", "type"] {
        let error = Event::parse(&TestEvent::busy().without(field).body()).unwrap_err();
        assert_eq!(error.to_string(), format!("the field `{field}` is missing"));
    }
    for (field, value, expected) in [
        ("id", serde_json::json!(7), "a string"),
        ("id", serde_json::json!("7"), "a UUID"),
        ("type", serde_json::json!(["workspace.presence.changed"]), "a string"),
    ] {
        let error = Event::parse(&TestEvent::busy().with(field, value).body()).unwrap_err();
        assert_eq!(error.to_string(), format!("the field `{field}` is not {expected}"));
    }
}

#[test]
fn skips_deep_nesting_without_stack_overflow() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let ignored = PUBLISHED.replacen('{', &format!("{{\"deep\":{deep},"), 1);
    assert!(parse(&ignored).is_ok());
    let reason = reason(&with_data(&deep));
    assert!(matches!(reason, UnknownReason::InvalidData(ParseError::InvalidField { field: "data", .. })));
    let objects = "{\"a\":".repeat(100_000);
    assert!(parse(&objects).unwrap_err().contains("not JSON"));
}

#[test]
fn output_escapes_and_cuts_untrusted_text() {
    let evil = "\u{1b}[2J\n\u{202e}\u{2066}\u{0}é\" level='\"".to_owned() + &"x".repeat(10_000);
    let event = TestEvent::presence(&evil).with("apiVersion", evil.clone());
    let event = Event::parse(&event.body()).unwrap();
    let evil_type = Event::parse(&TestEvent::busy().with_type(&evil).body()).unwrap();
    let shown = r#"\u{1b}[2J\n\u{202e}\u{2066}\u{0}\u{e9}\" level='\""#.to_owned()
        + &"x".repeat(45)
        + "… (10024 bytes)";
    let status = event.typed::<WorkspacePresenceChanged>().unwrap().data.presence_status;
    assert_eq!((evil_type.event_type.to_string(), status.to_string()), (shown.clone(), shown));
    for output in [format!("{event:?}"), format!("{evil_type:?}")] {
        assert!(output.len() < 800, "{} bytes", output.len());
        assert!(!output.contains("é\" level"), "{output}");
        assert!(output.chars().all(|c| c == '…' || (' '..='~').contains(&c)), "{output}");
    }
    let backslashes = Event::parse(&TestEvent::busy().with_type(r"\\").body()).unwrap().event_type;
    assert_eq!((backslashes.as_str(), &*backslashes.to_string()), (r"\\", r"\\\\"));
    assert_eq!(evil_type.event_type.as_str(), evil, "as_str returns the text unchanged");
}

proptest! {
    #[test]
    fn never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Event::parse(&body);
    }

    /// No change of one byte in the body of a busy workspace panics or parses as `Free`.
    #[test]
    fn one_changed_byte_never_parses_as_free(
        at in 0..PUBLISHED.len(), byte in any::<u8>(),
    ) {
        let mut body = PUBLISHED.as_bytes().to_vec();
        body[at] = byte;
        if let Ok(event) = Event::parse(&body)
            && let EventData::WorkspacePresenceChanged(change) = event.data {
            prop_assert_ne!(change.presence_status, PresenceStatus::Free);
        }
    }

    /// Reports a syntax error only for text that `serde_json::Value` rejects as well.
    #[test]
    fn agrees_with_serde_json_on_syntax(
        text in r#"[\[\]{}:,"\\a0-9eE.+\- \ntfru]{0,12}"#,
    ) {
        let parsed = Event::parse(text.as_bytes());
        let json = serde_json::from_str::<serde_json::Value>(&text);
        let is_syntax_error = matches!(parsed, Err(ParseError::NotJson { .. } | ParseError::TrailingData { .. }));
        if json.as_ref().is_ok_and(serde_json::Value::is_object) {
            prop_assert!(!is_syntax_error, "{:?}", parsed);
        } else if text.trim_start().starts_with('{') {
            prop_assert!(parsed.is_err());
        }
    }
}
