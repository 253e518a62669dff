//! The floor plan: a trait, so that a test can put something else in the place of your database.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use roomz_axum::{PresenceStatus, Timestamp, WorkspaceId};

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub workspace: WorkspaceId,
    pub status: PresenceStatus,
    pub when: Timestamp,
    /// From 2 on, an earlier run of the handler has failed, and may have written this before it did.
    pub attempt: u32,
}

/// The plan cannot be written at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Unavailable;

/// Where the changes are written down.
pub trait FloorPlan: Send + Sync + 'static {
    /// Writes down a change, unless a later one of the same workspace is there.
    fn apply(&self, change: Change) -> Result<(), Unavailable>;
}

/// A plan in memory.
#[derive(Debug, Default)]
pub struct MemoryPlan {
    workspaces: Mutex<HashMap<WorkspaceId, (Timestamp, PresenceStatus)>>,
}

impl MemoryPlan {
    /// The last status of a workspace.
    pub fn status(&self, workspace: WorkspaceId) -> Option<PresenceStatus> {
        let workspaces = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        workspaces.get(&workspace).map(|(_, status)| status.clone())
    }
}

impl FloorPlan for MemoryPlan {
    fn apply(&self, change: Change) -> Result<(), Unavailable> {
        let mut workspaces = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        let known = workspaces.get(&change.workspace);
        // ROOMZ promises no order.
        if known.is_none_or(|(when, _)| *when < change.when) {
            workspaces.insert(change.workspace, (change.when, change.status));
        }
        Ok(())
    }
}
