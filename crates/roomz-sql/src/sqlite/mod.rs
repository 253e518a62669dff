mod backend;
mod connect;

pub(crate) use self::backend::{SqliteSession, query};
pub(crate) use self::connect::{connect, use_pool};
