mod statements;
mod table;

pub(crate) use self::statements::tests;
pub use self::table::{PresenceChanges, PresencePoint, PresenceTable, WorkspacePresence};
