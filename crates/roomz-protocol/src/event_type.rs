use std::borrow::Cow;
use std::fmt;

use crate::text;

/// The `type` of an event, such as `workspace.presence.changed`.
///
/// [`Display`](fmt::Display) is safe for logs: anything but printable ASCII is escaped and the text is cut to
/// 64 characters. [`as_str`](Self::as_str) gives the text as it came.
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
    /// `workspace.presence.changed`, the only type of the published specification.
    pub const WORKSPACE_PRESENCE_CHANGED: Self = Self(Cow::Borrowed("workspace.presence.changed"));

    /// Wraps a type's name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        // The known name is not copied: this runs for each event.
        if name == Self::WORKSPACE_PRESENCE_CHANGED.as_str() {
            Self::WORKSPACE_PRESENCE_CHANGED
        } else {
            Self(Cow::Owned(name.to_owned()))
        }
    }

    /// The name as it came, unescaped and of any length.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this version of the crate has a type for the data of such events.
    #[must_use]
    pub fn is_known(&self) -> bool {
        *self == Self::WORKSPACE_PRESENCE_CHANGED
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write_escaped(f, &self.0)
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write_quoted(f, &self.0)
    }
}
