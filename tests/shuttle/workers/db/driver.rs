//! In place of the drivers: what the workers know of them.

use sqlx::Error;

use crate::db::dialect::Dialect;

pub trait Driver: 'static {
    const DIALECT: Dialect;

    fn classify(error: &Error) -> Failure;
}

#[derive(Clone, Copy)]
pub enum Failure {
    Broken,
    Locked,
    Busy,
    Rejected,
}
