//! Events, secrets and signatures of [ROOMZ](https://roomz.io) webhooks.
//!
//! This crate has no async code and depends on no HTTP framework. To receive webhooks in axum, tonic, hyper
//! or Lambda, use `roomz-axum` or `roomz-webhook`, which are built on this crate.
//!
//! ROOMZ signs the raw body of each delivery with HMAC-SHA512 and sends the signature in base64 in the header
//! `Roomz-Signature`. Verify the signature first, then parse the body:
//!
//! ```rust
//! use roomz_protocol::{Event, EventData, PresenceStatus, Secret, Secrets, Signature};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Once, at startup. During a rotation, several secrets are valid.
//! let secrets = Secrets::new([Secret::new("the webhook secret")?])?;
//!
//! // For each delivery: `body` is the raw body and `header` is the value of the signature header.
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
//!         PresenceStatus::Busy => println!("{} is busy", change.workspace_id),
//!         PresenceStatus::Free => println!("{} is free", change.workspace_id),
//!         other => println!("{} reports {other}", change.workspace_id),
//!     },
//!     EventData::Unknown(unknown) => println!("ignored: {}", unknown.reason()),
//!     _ => {}
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Accepted spellings
//!
//! The public specification is version 2024-05-20 of the repository `roomz-io/openapi`. Its texts, its
//! examples and its history contradict each other. This crate accepts every spelling that they show, and
//! never guesses:
//!
//! | field | accepted | result |
//! |---|---|---|
//! | `id` | a UUID in either case: 32 digits, or hyphenated, alone, in braces or after `urn:uuid:` | one [`EventId`] |
//! | `type` | `workspace.presence.changed` | [`EventData::WorkspacePresenceChanged`] |
//! | `type` | any other string, also without `data` | [`EventData::Unknown`] with the whole JSON and the reason |
//! | `timestamp` | RFC 3339, and `2024-02-02T09:13:44+0000` of the first draft, up to 9999-12-30T22:00:00Z; a second 60 is read as 59 | [`Timestamp`] |
//! | `timestamp` | missing, or any other form: without an offset (UTC is not guessed), a space instead of `T`, a number | [`EventData::Unknown`] with the reason; [`Event::timestamp`] is `None` |
//! | `apiVersion` | a string, a number, anything else or absent | `Some` with the string, `Some` with the number's text, `None` |
//! | `presenceStatus` | `Free`, `Busy` in any case | [`PresenceStatus::Free`], [`PresenceStatus::Busy`] |
//! | `presenceStatus` | any other string | [`PresenceStatus::Other`] with that string |
//! | `data`, `presenceStatus`, `workspaceId` | missing, or of another JSON type | [`EventData::Unknown`] with the reason, never `Free` |
//! | any other field | any JSON | ignored, but still in the body |
//!
//! [`Event::parse`] rejects a body with a [`ParseError`] if it is not UTF-8, is not exactly one JSON object,
//! repeats a key that is read (also in an escaped spelling), or has no readable `id` or `type`. Nesting has
//! no limit, because skipping a value needs no stack.
//!
//! The latest time is that of jiff, so .NET's `DateTimeOffset.MaxValue` is not readable. A [`Timestamp`] is
//! displayed without trailing zeros (`08:22:32.45Z`, `08:22:32Z`): such texts do not sort by time.
//!
//! # Redaction
//!
//! - `Debug` of [`Secret`], [`Secrets`], [`Verifier`] and [`Signature`] is redacted.
//! - Errors name fields and positions and never quote the body.
//! - Displayed text from the body (`type`, `apiVersion`, an unusual status) is escaped and cut to 64
//!   characters.
//! - Keys are zeroized on drop. This does not reach the copy that `hmac` leaves on the stack during key
//!   setup, nor copies made by the operating system or an allocator.
//!
//! # Features
//!
//! All features are off by default.
//!
//! - `serde`: `Serialize` and `Deserialize` for events and their parts. See [the JSON form](#the-json-form).
//! - `testing`: the module `testing` with test events and signed requests, to test your handler without
//!   ROOMZ.
//!
//! Without `testing`, it also builds for `wasm32-unknown-unknown`.
//!
//! # The JSON form
//!
//! With the feature `serde`, an [`Event`] is serialized in the form that ROOMZ publishes, so that
//! [`Event::parse`] can read a stored event:
//!
//! ```
//! # #[cfg(feature = "serde")] {
//! use roomz_protocol::{Event, PresenceStatus, Timestamp, WorkspaceId, WorkspacePresenceChanged};
//!
//! #[derive(serde::Serialize)]
//! struct Desk {
//!     id: WorkspaceId,
//!     status: PresenceStatus,
//!     since: Timestamp,
//! }
//!
//! # let body = br#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4","type":"workspace.presence.changed",
//! #   "timestamp":"2024-05-21T08:22:32.452Z","apiVersion":"1.0",
//! #   "data":{"workspaceId":"5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5","presenceStatus":"Busy"}}"#;
//! let event: Event<WorkspacePresenceChanged> = serde_json::from_slice(body)?;
//! assert_eq!(Event::parse(&serde_json::to_vec(&event)?).unwrap().typed(), Some(event.clone()));
//!
//! let desk = Desk { id: event.data.workspace_id, status: event.data.presence_status, since: event.timestamp };
//! assert_eq!(
//!     serde_json::to_string(&desk)?,
//!     r#"{"id":"5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5","status":"Busy","since":"2024-05-21T08:22:32.452Z"}"#,
//! );
//! # }
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! | type | JSON |
//! |---|---|
//! | [`Event`] | `{"id","type","timestamp","apiVersion","data"}`; an unknown event as it was delivered |
//! | [`WorkspacePresenceChanged`] | `{"workspaceId","presenceStatus"}` |
//! | [`EventId`], [`WorkspaceId`] | a UUID with hyphens in lower case; the forms above are read |
//! | [`EventType`], [`PresenceStatus`], [`UntrustedText`] | the unescaped text; escape it before you put it into HTML |
//! | [`Timestamp`] | RFC 3339 |
//! | [`Latest`] | `{"timestamp","id","value"}`, or `null` before the first event |
//! | [`UnknownData`] | the whole event as it was delivered; only `Serialize` |
//!
//! An [`Event`] is deserialized with [`Event::parse`]. This works with `serde_json` only, and not inside
//! `#[serde(flatten)]` or an untagged or internally tagged enum, because these do not keep the JSON text.
//! [`EventData`] has no JSON form, because it does not contain the event type. [`Secret`] and [`Signature`]
//! cannot be serialized.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod data;
mod error_chain;
mod escape;
mod event;
mod event_type;
mod id;
mod latest;
mod parse;
mod parse_error;
mod presence;
mod secret;
mod secret_error;
#[cfg(feature = "serde")]
mod serde_impls;
mod signature;
#[cfg(feature = "testing")]
pub mod testing;
mod timestamp;
mod untrusted_text;
mod verifier;

pub use self::data::{EventData, Payload, UnknownData, UnknownReason};
pub use self::error_chain::error_chain;
pub use self::event::Event;
pub use self::event_type::EventType;
pub use self::id::{EventId, ParseIdError, WorkspaceId};
pub use self::latest::{CLOCK_SKEW, Latest, LatestOutcome};
pub use self::parse_error::ParseError;
pub use self::presence::{PresenceStatus, WorkspacePresenceChanged};
pub use self::secret::Secret;
pub use self::secret_error::{SecretError, SecretErrorKind};
pub use self::signature::{SIGNATURE_HEADER, Signature, SignatureError};
pub use self::untrusted_text::UntrustedText;
pub use self::verifier::{Secrets, SignatureMismatch, Verifier};

/// The type of [`Event::timestamp`], from the `jiff` crate.
pub use jiff::Timestamp;
/// The UUID in [`EventId`] and [`WorkspaceId`], from the `uuid` crate.
pub use uuid::Uuid;

debug_error_chain!(ParseError, ParseIdError, SecretError, SignatureError, SignatureMismatch);

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Secrets and signatures cannot be serialized.
///
/// ```compile_fail,E0277
/// fn serialize(_: impl serde::Serialize) {}
/// serialize(roomz_protocol::Secret::new("k").unwrap());
/// ```
///
/// ```compile_fail,E0277
/// fn serialize(_: impl serde::Serialize) {}
/// serialize(roomz_protocol::Secret::new("k").unwrap().sign(b""));
/// ```
#[cfg(doctest)]
struct NotSerializable;
