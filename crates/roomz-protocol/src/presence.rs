use std::fmt;

use crate::escape::write_escaped;
use crate::id::WorkspaceId;
use crate::untrusted_text::UntrustedText;

/// The data of a `workspace.presence.changed` event.
///
/// Source: schema `WorkspacePresenceChangedEvent` of `openapi/spec3.yml`, version 2024-05-20.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "camelCase"))]
#[non_exhaustive]
pub struct WorkspacePresenceChanged {
    /// The workspace whose presence changed.
    pub workspace_id: WorkspaceId,
    /// The presence that the sensor reports now.
    pub presence_status: PresenceStatus,
}

/// The presence at a workspace: `Free`, `Busy` or another text.
///
/// ASCII case is ignored, because the specification says `Free` and `Busy`, its example says `busy`, and its
/// history says `free` and `busy`. Any other text is kept as [`Other`](Self::Other) and never read as `Free`.
///
/// ```
/// use roomz_protocol::PresenceStatus;
///
/// assert_eq!(PresenceStatus::new("busy"), PresenceStatus::Busy);
/// assert_eq!(PresenceStatus::new("Offline").as_str(), "Offline");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PresenceStatus {
    /// Nobody is present.
    Free,
    /// Somebody is present.
    Busy,
    /// A text that the specification does not name.
    ///
    /// A later version adds a variant for such a text only as a breaking change, so that texts that you match
    /// here do not silently move to another variant.
    Other(UntrustedText),
}

impl PresenceStatus {
    /// Parses a status text. ASCII case is ignored.
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

    /// Returns `Free`, `Busy`, or the other text unchanged.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Free => "Free",
            Self::Busy => "Busy",
            Self::Other(text) => text.as_str(),
        }
    }
}

/// Safe for logs: writes at most 64 characters and escapes `"`, `\` and everything but printable ASCII.
impl fmt::Display for PresenceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, self.as_str())
    }
}
