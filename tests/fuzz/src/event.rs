//! The event, compared with a reading of the documentation's table that shares no code with it.

use arbitrary::Arbitrary;
use roomz_protocol::{Event, EventData, PresenceStatus, WorkspacePresenceChanged};

use crate::json::Json;
use crate::timestamp;

const TYPE: &str = "workspace.presence.changed";

/// A valid event with some changes.
#[derive(Arbitrary, Debug)]
pub struct Document<'a> {
    id: u8,
    event: Vec<(u8, Edit<'a>)>,
    data: Vec<(u8, Edit<'a>)>,
    space: u8,
}

#[derive(Arbitrary, Debug)]
enum Edit<'a> {
    Remove,
    Repeat,
    EscapeKey,
    Uuid { form: u8, id: u8 },
    Text(&'a str),
    Json(&'a str),
    Nest(u16),
    Insert(&'a str, &'a str),
    Append(&'a str),
}

impl Document<'_> {
    pub fn valid(id: u8) -> String {
        Document { id, event: Vec::new(), data: Vec::new(), space: 0 }.text()
    }

    pub fn text(&self) -> String {
        let space = ["", " ", "\n", "\r\t "][usize::from(self.space) % 4];
        let data = [("workspaceId", uuid(0, self.id)), ("presenceStatus", r#""Busy""#.to_owned())];
        let data = edit(data, &self.data, space);
        let event = [
            ("id", uuid(0, self.id)),
            ("type", format!("\"{TYPE}\"")),
            ("timestamp", r#""2024-05-21T08:22:32.452Z""#.to_owned()),
            ("apiVersion", r#""1.0""#.to_owned()),
            ("data", data),
        ];
        edit(event, &self.event, space)
    }
}

fn uuid(form: u8, id: u8) -> String {
    let id = format!("e6ae112e-2af3-4d72-894b-03435d7afd{id:02x}");
    match form % 6 {
        0 => format!("\"{id}\""),
        1 => format!("\"{}\"", id.to_uppercase()),
        2 => format!("\"{{{id}}}\""),
        3 => format!("\"urn:uuid:{id}\""),
        4 => format!("\"{}\"", id.replace('-', "")),
        _ => format!("\"({id})\""),
    }
}

fn edit<const N: usize>(members: [(&str, String); N], edits: &[(u8, Edit<'_>)], space: &str) -> String {
    let mut members = Vec::from(members.map(|(key, value)| (format!("\"{key}\""), value)));
    let mut end = String::new();
    for (at, edit) in edits {
        let at = usize::from(*at) % members.len().max(1);
        let Some((key, value)) = members.get_mut(at) else { break };
        match edit {
            Edit::Remove => drop(members.remove(at)),
            Edit::Repeat => {
                let member = members[at].clone();
                members.push(member);
            }
            Edit::EscapeKey => {
                let first = key.remove(1);
                key.insert_str(1, &format!("\\u{:04x}", u32::from(first)));
            }
            Edit::Uuid { form, id } => *value = uuid(*form, *id),
            Edit::Text(text) => *value = serde_json::to_string(text).unwrap(),
            Edit::Json(json) => (*json).clone_into(value),
            Edit::Nest(depth) => {
                let depth = usize::from(*depth) % 300;
                *value = "[".repeat(depth) + value + &"]".repeat(depth);
            }
            Edit::Insert(key, json) => {
                members.insert(at, (serde_json::to_string(key).unwrap(), (*json).into()))
            }
            Edit::Append(text) => end += text,
        }
    }
    let members = members.iter().map(|(key, value)| format!("{key}{space}:{space}{value}{space}"));
    format!("{space}{{{space}{}}}{end}{space}", members.collect::<Vec<_>>().join(","))
}

pub struct Reading {
    pub id: u128,
    event_type: String,
    timestamp: Option<(i64, i32)>,
    api_version: Option<String>,
    /// Of an event whose type, timestamp and data are readable.
    change: Option<(u128, String)>,
}

/// Reads a body by the table "Accepted spellings" of roomz-protocol. `None`: it is rejected.
pub fn read(body: &[u8]) -> Option<Reading> {
    let Json::Object(event) = Json::read(std::str::from_utf8(body).ok()?)? else { return None };
    let id = only(&event, "id")?;
    let event_type = only(&event, "type")?;
    let timestamp = only(&event, "timestamp")?.and_then(Json::text).and_then(timestamp::read);
    let api_version = only(&event, "apiVersion")?;
    let data = only(&event, "data")?;
    let event_type = event_type.and_then(Json::text)?.to_owned();
    let mut change = None;
    if let Some(Json::Object(data)) = data.filter(|_| event_type == TYPE) {
        let workspace = only(data, "workspaceId")?.and_then(Json::text).and_then(read_uuid);
        let status = only(data, "presenceStatus")?.and_then(Json::text).map(str::to_owned);
        change = workspace.zip(status).filter(|_| timestamp.is_some());
    }
    let api_version = match api_version {
        Some(Json::Text(text)) => text.clone(),
        Some(Json::Number(number)) => Some(number.clone()),
        _ => None,
    };
    Some(Reading {
        id: id.and_then(Json::text).and_then(read_uuid)?,
        event_type,
        timestamp,
        api_version,
        change,
    })
}

/// The member with this key. `None` if there are several.
fn only<'a>(members: &'a [(Option<String>, Json)], key: &str) -> Option<Option<&'a Json>> {
    let mut found = members.iter().filter(|(name, _)| name.as_deref() == Some(key)).map(|(_, value)| value);
    let first = found.next();
    found.next().is_none().then_some(first)
}

fn read_uuid(text: &str) -> Option<u128> {
    let plain = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let plain = plain.or_else(|| text.strip_prefix("urn:uuid:"));
    let groups: Vec<_> = plain.unwrap_or(text).split('-').collect();
    let lengths: Vec<_> = groups.iter().map(|group| group.len()).collect();
    let digits = groups.concat();
    let is_valid = lengths == [8, 4, 4, 4, 12] || plain.is_none() && lengths == [32];
    (is_valid && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| u128::from_str_radix(&digits, 16).unwrap())
}

pub fn run(input: &[u8]) {
    let generated = crate::generate(input).map(|document: Document<'_>| document.text().into_bytes());
    let body = generated.unwrap_or_else(|| input.to_vec());
    if body.iter().filter(|byte| b"[{".contains(byte)).count() > 1_000 {
        // The other reading is recursive.
        return;
    }
    let parsed = Event::parse(&body);
    let (event, expected) = match (parsed, read(&body)) {
        (Ok(event), Some(expected)) => (event, expected),
        (Err(_), None) => return,
        (parsed, expected) => panic!("{parsed:?}, but accepted by the other reading: {}", expected.is_some()),
    };
    assert_eq!(event.id.as_uuid().as_u128(), expected.id);
    assert_eq!(event.event_type.as_str(), expected.event_type);
    let timestamp = event.timestamp.map(|it| (it.as_second(), it.subsec_nanosecond()));
    assert_eq!(timestamp, expected.timestamp);
    assert_eq!(event.api_version.as_ref().map(|it| it.as_str()), expected.api_version.as_deref());
    let typed = event.typed::<WorkspacePresenceChanged>();
    let change =
        typed.as_ref().map(|it| (it.data.workspace_id.as_uuid().as_u128(), &it.data.presence_status));
    let of_status = |text: &str| match text.to_ascii_lowercase().as_str() {
        "free" => "Free".to_owned(),
        "busy" => "Busy".to_owned(),
        _ => text.to_owned(),
    };
    let expected_change = expected.change.map(|(id, status)| (id, of_status(&status)));
    assert_eq!(change.map(|(id, status)| (id, status.as_str().to_owned())), expected_change);
    if let Some((_, PresenceStatus::Other(text))) = change {
        assert!(!["free", "busy"].contains(&text.as_str().to_ascii_lowercase().as_str()));
    }
    if let EventData::Unknown(unknown) = &event.data {
        assert_eq!(unknown.json().as_bytes(), body);
    }

    let shown = format!("{event:?} {} {:?}", event.event_type, event.api_version);
    assert!(shown.chars().all(|c| (' '..='~').contains(&c) || c == '…'), "{shown:?}");
    // Only a time before year 0 has no JSON form.
    if let Ok(json) = serde_json::to_vec(&event) {
        let again = Event::parse(&json).unwrap();
        assert_eq!((again.id, again.timestamp, again.typed()), (event.id, event.timestamp, typed));
    } else {
        assert!(event.timestamp.is_some_and(|it| it.to_string().starts_with('-')));
    }
}
