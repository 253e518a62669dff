mod backend;
mod batch;
mod connect;

pub(crate) use self::backend::{SqliteSession, query};
pub(crate) use self::connect::{check_pool, connect, open_pool, use_pool};
