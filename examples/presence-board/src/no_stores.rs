//! What replaces `presence.rs` and `inbox.rs` in a program without the feature `stores`.

use std::convert::Infallible;

use axum::Router;
use roomz_axum::{Delivery, Event, WorkspacePresenceChanged};

use crate::board::Board;

/// The store `memory` shares no presence.
#[derive(Clone)]
pub enum SharedPresence {}

impl SharedPresence {
    pub async fn start(&self, _: &Board) -> Result<(), Infallible> {
        match *self {}
    }

    pub async fn record(&self, _: &Delivery, _: &Event<WorkspacePresenceChanged>) -> Result<(), Infallible> {
        match *self {}
    }
}

/// Fails: the crate of the inbox is missing.
pub async fn start(_: &str, _: &Board) -> Result<Router, std::io::Error> {
    Err(std::io::Error::other("this program was built without inboxes; build it with `--features stores`"))
}
