#![doc = include_str!("../README.md")]

mod delivery;
mod event;
mod rejection;

pub use self::delivery::Delivery;
pub use self::event::Event;
pub use self::rejection::{EventRejection, MissingLayer, OtherEvent};

pub use roomz_webhook::{
    self, EventData, EventId, EventType, MokaStore, PresenceStatus, Secret, Secrets, WebhookLayer,
    WorkspaceId, WorkspacePresenceChanged,
};
