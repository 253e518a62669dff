use std::borrow::Cow;

use crate::escape::escape_text;

/// The `type` of an event, such as `workspace.presence.changed`.
///
/// `Display` and `Debug` are safe for logs: they write at most 64 characters and escape `"`, `\` and
/// everything but printable ASCII. [`as_str`](Self::as_str) returns the text unchanged.
///
/// ```
/// use roomz_protocol::EventType;
///
/// assert_eq!(EventType::WORKSPACE_PRESENCE_CHANGED.as_str(), "workspace.presence.changed");
/// assert_eq!(EventType::new("evil\u{1b}[2J").to_string(), r"evil\u{1b}[2J");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventType(Cow<'static, str>);

impl EventType {
    /// `workspace.presence.changed`, the only type in the published specification.
    pub const WORKSPACE_PRESENCE_CHANGED: Self = Self(Cow::Borrowed("workspace.presence.changed"));

    /// Creates an event type from its name. Case matters.
    #[must_use]
    pub fn new(name: &str) -> Self {
        // This runs for every event, so the known name is not allocated.
        if name == Self::WORKSPACE_PRESENCE_CHANGED.as_str() {
            Self::WORKSPACE_PRESENCE_CHANGED
        } else {
            Self(Cow::Owned(name.to_owned()))
        }
    }

    /// Returns the name unchanged: not escaped and of any length.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

escape_text!(EventType);
