#![doc = include_str!("../README.md")]

mod accept;
mod answer;
mod body;
mod builder;
mod claim;
mod clock;
mod delivery;
mod detach;
mod drain;
mod fresh;
mod hand_over;
mod head;
mod layer;
mod measure;
mod read;
mod refusal;
mod response;
mod service;
mod settings;
mod settle;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod waiting;

pub use self::answer::Skipped;
pub use self::body::WebhookBody;
pub use self::builder::{BuildError, BuildErrorKind, WebhookLayerBuilder};
pub use self::clock::{Clock, SystemClock};
pub use self::delivery::Delivery;
pub use self::layer::WebhookLayer;
pub use self::refusal::{Refusal, RefusalKind};
pub use self::response::ResponseBody;
pub use self::service::{ResponseFuture, Webhook};
pub use self::settings::{IdReused, StaleEvent, StoreOutage};
pub use self::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, MokaStore, Owner, Settled,
    StoreError, StoreErrorKind,
};

pub use roomz_protocol::{
    self, Event, EventData, EventId, EventType, PresenceStatus, Secret, Secrets, WorkspaceId,
    WorkspacePresenceChanged,
};
