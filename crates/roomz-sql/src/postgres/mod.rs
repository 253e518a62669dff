mod backend;
mod batch;
mod connect;
mod query;
mod url;

pub(crate) use self::backend::PgSession;
pub(crate) use self::connect::{check_pool, connect, open_pool, use_pool};
pub(crate) use self::query::{Protocol, fetch};
