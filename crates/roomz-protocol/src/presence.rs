use std::fmt;

use crate::id::WorkspaceId;
use crate::text::{self, UntrustedText};

/// The data of a `workspace.presence.changed` event.
///
/// Source: schema `WorkspacePresenceChangedEvent` of `openapi/spec3.yml`, version 2024-05-20.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WorkspacePresenceChanged {
    /// The workspace whose presence changed.
    pub workspace_id: WorkspaceId,
    /// What the sensor reports now.
    pub presence_status: PresenceStatus,
}

/// Whether somebody is there.
///
/// The specification says `Free` and `Busy`, its example says `busy`, and its history says `free`/`busy`: case is
/// ignored. Any other text is kept, never read as `Free`.
///
/// ```
/// use roomz_protocol::PresenceStatus;
///
/// assert_eq!(PresenceStatus::new("busy"), PresenceStatus::Busy);
/// assert_eq!(PresenceStatus::new("Offline").as_str(), "Offline");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PresenceStatus {
    /// Nobody is there.
    Free,
    /// Somebody is there.
    Busy,
    /// A text that the specification does not name, as it came.
    ///
    /// To give such a text a variant of its own is a breaking change of this crate, so that what you match here does
    /// not silently go elsewhere.
    Other(UntrustedText),
}

impl PresenceStatus {
    /// Reads a status text, ignoring ASCII case.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if text.eq_ignore_ascii_case("free") {
            Self::Free
        } else if text.eq_ignore_ascii_case("busy") {
            Self::Busy
        } else {
            Self::Other(UntrustedText::new(text))
        }
    }

    /// `Free`, `Busy`, or the other text as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Free => "Free",
            Self::Busy => "Busy",
            Self::Other(text) => text.as_str(),
        }
    }
}

/// Safe for logs: anything but printable ASCII is escaped and the text is cut to 64 characters.
impl fmt::Display for PresenceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write_escaped(f, self.as_str())
    }
}

impl fmt::Debug for PresenceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free => f.write_str("Free"),
            Self::Busy => f.write_str("Busy"),
            Self::Other(text) => write!(f, "Other({text:?})"),
        }
    }
}
