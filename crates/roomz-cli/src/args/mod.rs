//! The command line.
//!
//! Doc comments are help texts. In an `after_help`, a paragraph is one line, because clap wraps it to the
//! width of the terminal; an example stays below 80 columns, so that it is never wrapped and can be copied.

mod cli;
mod connect;
mod deliver;
mod listen;
mod replay;
mod secret;
mod send;
mod sign;
pub(crate) mod values;
mod verify;

pub(crate) use self::cli::{Cli, Command};
pub(crate) use self::connect::ConnectArgs;
pub(crate) use self::deliver::DeliverArgs;
pub(crate) use self::listen::ListenArgs;
pub(crate) use self::replay::ReplayArgs;
pub(crate) use self::secret::SecretArgs;
pub(crate) use self::send::SendArgs;
pub(crate) use self::sign::SignArgs;
pub(crate) use self::verify::VerifyArgs;
