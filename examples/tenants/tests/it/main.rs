//! The handler and the rotation of secrets.

mod app;
mod rotation;
