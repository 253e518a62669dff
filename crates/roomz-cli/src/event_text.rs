//! Describes an event in one line.

use roomz_protocol::{Event, EventData};

/// Describes a body in one line. The text is not escaped.
pub(crate) fn describe(body: &[u8]) -> String {
    let event = match Event::parse(body) {
        Err(error) => return format!("not an event: {error}"),
        Ok(event) => event,
    };
    let time = event.timestamp.map_or("unknown time".to_owned(), |timestamp| timestamp.to_string());
    let text = match &event.data {
        EventData::WorkspacePresenceChanged(change) => {
            format!("workspace {} is {}", change.workspace_id, change.presence_status)
        }
        EventData::Unknown(unknown) => format!("{}, {}", event.event_type, unknown.reason()),
        _ => event.event_type.to_string(),
    };
    format!("event {} of {time}: {text}", event.id)
}
