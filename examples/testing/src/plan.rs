//! The floor plan: a trait, so that a test can replace your database.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use roomz_axum::{PresenceStatus, Timestamp, WorkspaceId};

/// The change that an event reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub workspace: WorkspaceId,
    pub status: PresenceStatus,
    pub timestamp: Timestamp,
    /// From 2 on, an earlier run of the handler failed. It may have applied this change before it failed.
    pub attempt: u32,
}

/// The error when the plan cannot be written.
#[derive(Clone, Copy, Debug)]
pub struct Unavailable;

/// The current status of every workspace.
pub trait FloorPlan: Send + Sync + 'static {
    /// Applies a change, unless a later change of the same workspace was applied before.
    fn apply(&self, change: Change) -> Result<(), Unavailable>;
}

/// A floor plan in memory.
#[derive(Debug, Default)]
pub struct MemoryPlan {
    workspaces: Mutex<HashMap<WorkspaceId, (Timestamp, PresenceStatus)>>,
}

impl MemoryPlan {
    /// Returns the latest status of a workspace.
    pub fn status(&self, workspace: WorkspaceId) -> Option<PresenceStatus> {
        let workspaces = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        workspaces.get(&workspace).map(|(_, status)| status.clone())
    }
}

impl FloorPlan for MemoryPlan {
    fn apply(&self, change: Change) -> Result<(), Unavailable> {
        let mut workspaces = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = workspaces.get(&change.workspace);
        // ROOMZ does not promise an order.
        if latest.is_none_or(|(timestamp, _)| *timestamp < change.timestamp) {
            workspaces.insert(change.workspace, (change.timestamp, change.status));
        }
        Ok(())
    }
}
