//! What [ROOMZ](https://roomz.io) webhooks define, as Rust types: events, secrets, signatures. Nothing here is
//! asynchronous and nothing knows an HTTP framework. To receive webhooks in axum, tonic, hyper or Lambda, use
//! `roomz-webhook` or `roomz-axum`, which are built on this crate.
//!
//! ROOMZ signs the raw body of each delivery with HMAC-SHA512 and sends the result in base64 in the header
//! `Roomz-Signature`. Verify first, parse afterwards:
//!
//! ```rust
//! use roomz_protocol::{Event, EventData, PresenceStatus, Secret, Secrets, Signature};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Once, at start-up. Several secrets may be valid at the same time, for rotation.
//! let secrets = Secrets::new([Secret::new("the webhook secret")?])?;
//!
//! // For each delivery: the raw body and the value of the header.
//! # let body = br#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4","type":"workspace.presence.changed",
//! #   "timestamp":"2024-05-21T08:22:32.452Z","apiVersion":"1.0",
//! #   "data":{"workspaceId":"5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5","presenceStatus":"Busy"}}"#;
//! # let header = Secret::new("the webhook secret")?.sign(body).to_base64();
//! let signature = Signature::from_base64(header.as_bytes())?;
//! secrets.verify(body, &signature)?;
//!
//! let event = Event::parse(body)?;
//! match &event.data {
//!     EventData::WorkspacePresenceChanged(change) => match &change.presence_status {
//!         PresenceStatus::Busy => println!("{} is taken", change.workspace_id),
//!         PresenceStatus::Free => println!("{} is free", change.workspace_id),
//!         other => println!("{} reports {other}", change.workspace_id),
//!     },
//!     EventData::Unknown(unknown) => println!("left alone, {}", unknown.reason()),
//!     _ => {}
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # How contradictions in the published material are read
//!
//! The public specification is version 2024-05-20 of the repository `roomz-io/openapi`. Where its texts, its
//! examples and its history disagree, this crate accepts each spelling and never guesses:
//!
//! | field | accepted | what you get |
//! |---|---|---|
//! | `id` | any spelling of a UUID: hyphens or not, either case, `urn:uuid:`, braces | one [`EventId`] |
//! | `type` | `workspace.presence.changed` | [`EventData::WorkspacePresenceChanged`] |
//! | `type` | any other text | [`EventData::Unknown`] with the whole JSON and the reason |
//! | `timestamp` | RFC 3339, and the draft's `2024-02-02T09:13:44+0000` | [`Timestamp`] |
//! | `apiVersion` | text, a number, absent | `Some` text, `Some` of the number's text, `None` |
//! | `presenceStatus` | `Free`, `Busy` in any case | [`PresenceStatus::Free`], [`PresenceStatus::Busy`] |
//! | `presenceStatus` | any other text | [`PresenceStatus::Other`] with that text |
//! | `presenceStatus`, `workspaceId` | missing, or of another JSON type | [`EventData::Unknown`] with the reason, never `Free` |
//! | anything else | | ignored; still in the body you hold |
//!
//! A body is refused with a [`ParseError`] when it is not UTF-8, not exactly one JSON object, repeats a key that
//! is read (also in an escaped spelling), or lacks a readable `id`, `type`, `timestamp` or `data`. Nesting may be
//! as deep as it likes: skipping a value needs no stack.
//!
//! # What stays out of every output
//!
//! A [`Secret`] and a [`Signature`] print nothing of their content in `Debug`, errors name fields and positions
//! but never quote the body, and text from the body that is displayed (`type`, an unusual status) is escaped and
//! cut to 64 characters. Keys are wiped from memory on drop, as far as this crate holds them: `hmac` leaves a copy on
//! the stack while a key is set up, and what the operating system or an allocator copied is out of reach.
//!
//! # Features
//!
//! `testing` (off): [`testing`] builds events and signs requests as ROOMZ would, so that a handler can be tested
//! without ROOMZ. It changes nothing else.
//!
//! Needs Rust 1.95, the version it is tested with.

mod data;
mod event;
mod event_type;
mod id;
mod latest;
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
pub use self::latest::{Latest, LatestOutcome};
pub use self::parse_error::{ParseError, ParseErrorKind};
pub use self::presence::{PresenceStatus, WorkspacePresenceChanged};
pub use self::secret::Secret;
pub use self::secret_error::{SecretError, SecretErrorKind};
pub use self::signature::{Signature, SignatureError};
pub use self::text::UntrustedText;
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

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
