use std::str::FromStr;

use uuid::Uuid;

macro_rules! id {
    ($(#[$docs:meta])* $name:ident) => {
        $(#[$docs])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Debug, derive_more::Display)]
        #[debug("{}({_0})", stringify!($name))]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
        pub struct $name(Uuid);

        impl $name {
            /// Returns the UUID.
            #[must_use]
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            /// Parses a UUID in upper or lower case: 32 digits, or the hyphenated form, alone, in braces or
            /// after `urn:uuid:`. Not read are parentheses, and braces around 32 digits.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self).map_err(|_| ParseIdError(()))
            }
        }

        /// Creates the id.
        ///
        /// ```
        #[doc = concat!("use roomz_protocol::{", stringify!($name), ", Uuid};")]
        ///
        #[doc = concat!("let id = ", stringify!($name), "::from(Uuid::from_u128(7));")]
        /// assert_eq!(id.to_string(), "00000000-0000-0000-0000-000000000007");
        /// ```
        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }
    };
}

id! {
    /// The `id` of an event: a UUID that ROOMZ intends for idempotency.
    ///
    /// All spellings of one UUID are the same id:
    ///
    /// ```
    /// use roomz_protocol::EventId;
    ///
    /// let id: EventId = "e6ae112e-2af3-4d72-894b-03435d7afde4".parse()?;
    /// assert_eq!(id, "{E6AE112E-2AF3-4D72-894B-03435D7AFDE4}".parse()?);
    /// assert_eq!(id.to_string(), "e6ae112e-2af3-4d72-894b-03435d7afde4");
    /// # Ok::<(), roomz_protocol::ParseIdError>(())
    /// ```
    EventId
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
    WorkspaceId
}

/// The error of parsing an id from text that is not a UUID.
///
/// `Debug` prints the same message as `Display`.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID: expected 32 hexadecimal digits, such as e6ae112e-2af3-4d72-894b-03435d7afde4")]
pub struct ParseIdError(());
