use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

macro_rules! id {
    ($(#[$docs:meta])* $name:ident, $what:literal) => {
        $(#[$docs])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID.
            #[must_use]
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            /// Reads any spelling of a UUID: with or without hyphens, upper or lower case, in braces or with
            /// `urn:uuid:` in front.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self).map_err(|_| ParseIdError(()))
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($what, "({})"), self.0)
            }
        }
    };
}

id! {
    /// The `id` of an event: 128 bits, meant by ROOMZ for idempotency.
    ///
    /// Every spelling of one UUID is one id:
    ///
    /// ```
    /// use roomz_protocol::EventId;
    ///
    /// let id: EventId = "e6ae112e-2af3-4d72-894b-03435d7afde4".parse()?;
    /// assert_eq!(id, "{E6AE112E-2AF3-4D72-894B-03435D7AFDE4}".parse()?);
    /// assert_eq!(id.to_string(), "e6ae112e-2af3-4d72-894b-03435d7afde4");
    /// # Ok::<(), roomz_protocol::ParseIdError>(())
    /// ```
    EventId, "EventId"
}

id! {
    /// The `data.workspaceId` of an event: the workspace (desk, room, seat) that the event is about.
    ///
    /// ```
    /// use roomz_protocol::WorkspaceId;
    ///
    /// let id: WorkspaceId = "5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5".parse()?;
    /// assert_eq!(id.as_uuid().get_version_num(), 4);
    /// # Ok::<(), roomz_protocol::ParseIdError>(())
    /// ```
    WorkspaceId, "WorkspaceId"
}

/// A text is not a UUID in any spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseIdError(());

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a UUID: expected 32 hexadecimal digits, such as e6ae112e-2af3-4d72-894b-03435d7afde4",
        )
    }
}

impl std::error::Error for ParseIdError {}
