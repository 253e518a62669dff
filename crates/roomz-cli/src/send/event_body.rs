use roomz_protocol::{Timestamp, Uuid, WorkspaceId};
use serde_json::json;

use super::SendArgs;
use super::plan::PlannedEvent;

/// The number of random workspaces when the options name none.
const DEFAULT_WORKSPACES: usize = 10;

/// Builds the bodies of events with `format!`, because a JSON library takes longer than the signature.
pub(super) struct EventBody {
    /// A JSON string with its quotes, like `statuses`.
    event_type: String,
    workspaces: Vec<WorkspaceId>,
    statuses: Vec<String>,
}

impl EventBody {
    pub(super) fn new(args: &SendArgs) -> Self {
        let workspaces = if args.workspace.is_empty() {
            (0..DEFAULT_WORKSPACES).map(|_| WorkspaceId::from_uuid(Uuid::new_v4())).collect()
        } else {
            args.workspace.clone()
        };
        let statuses = match &args.status {
            Some(status) => vec![json!(status).to_string()],
            None => ["Busy", "Free"].map(|status| json!(status).to_string()).to_vec(),
        };
        let event_type = json!(args.event_type).to_string();
        Self { event_type, workspaces, statuses }
    }

    pub(super) fn workspace_count(&self) -> usize {
        self.workspaces.len()
    }

    pub(super) fn build(&self, event: &PlannedEvent) -> String {
        let id = event.id;
        let time = Timestamp::from_millisecond(event.timestamp_ms).unwrap_or_default();
        let workspace = self.workspaces.get(event.workspace).map(WorkspaceId::to_string).unwrap_or_default();
        // All workspaces have the same status in one round, and the next status in the next round.
        let round = event.number / self.workspaces.len().max(1) as u64;
        let status_index = usize::try_from(round % self.statuses.len().max(1) as u64).unwrap_or_default();
        let status = self.statuses.get(status_index).map_or("null", String::as_str);
        let event_type = &self.event_type;
        format!(
            r#"{{"id":"{id}","type":{event_type},"timestamp":"{time:.3}","apiVersion":"1.0","data":{{"workspaceId":"{workspace}","presenceStatus":{status}}}}}"#
        )
    }
}
