//! The function and its router.

mod event;
mod function;
mod router;
