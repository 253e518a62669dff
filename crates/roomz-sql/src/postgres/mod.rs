mod backend;
mod batch;
mod connect;
mod query;
mod url;

pub(crate) use self::connect::{connect, use_pool};
