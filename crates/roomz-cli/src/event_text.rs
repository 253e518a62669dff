//! Describes an event in one line.

use roomz_protocol::{Event, EventData};

/// Describes a body in one line. The text is not escaped.
pub(crate) fn describe(body: &[u8]) -> String {
    match Event::parse(body) {
        Err(error) => format!("not an event: {error}"),
        Ok(event) => match &event.data {
            EventData::WorkspacePresenceChanged(change) => format!(
                "event {} of {}: workspace {} is {}",
                event.id, event.timestamp, change.workspace_id, change.presence_status
            ),
            EventData::Unknown(unknown) => format!(
                "event {} of {}: {}, {}",
                event.id,
                event.timestamp,
                event.event_type,
                unknown.reason()
            ),
            _ => format!("event {} of {}: {}", event.id, event.timestamp, event.event_type),
        },
    }
}
