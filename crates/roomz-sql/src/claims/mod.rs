mod complete;
mod statements;
mod store;

pub use self::complete::{CompleteError, CompleteErrorKind, complete};
pub(crate) use self::statements::tests;
pub use self::store::SqlStore;
