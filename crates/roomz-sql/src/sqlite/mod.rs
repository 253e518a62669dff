mod backend;
mod connect;

pub(crate) use self::connect::{connect, use_pool};
