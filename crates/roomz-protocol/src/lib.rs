#![doc = include_str!("../README.md")]

mod data;
mod event;
mod event_type;
mod id;
mod parse;
mod parse_error;
mod presence;
mod secret;
mod secret_error;
mod signature;
#[cfg(feature = "testing")]
pub mod testing;
mod text;
mod timestamp;
mod verifier;

pub use self::data::{EventData, Payload, UnknownData, UnknownReason};
pub use self::event::Event;
pub use self::event_type::EventType;
pub use self::id::{EventId, ParseIdError, WorkspaceId};
pub use self::parse_error::{ParseError, ParseErrorKind};
pub use self::presence::{PresenceStatus, WorkspacePresenceChanged};
pub use self::secret::Secret;
pub use self::secret_error::{SecretError, SecretErrorKind};
pub use self::signature::{Signature, SignatureError};
pub use self::verifier::{NoSecret, Secrets, SignatureMismatch, Verifier};

/// The instant type of [`Event::timestamp`], from the `jiff` crate.
pub use jiff::Timestamp;
/// The 128-bit type behind [`EventId`] and [`WorkspaceId`], from the `uuid` crate.
pub use uuid::Uuid;

/// The name of the header that carries the signature: `roomz-signature`.
///
/// Source: `documentation/signature.md` of the public repository `roomz-io/openapi` (2024-05-20). Its first
/// draft said `X-Roomz-Signature`.
pub const SIGNATURE_HEADER: &str = "roomz-signature";
