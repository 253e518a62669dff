//! An HTTP/1.1 client for one receiver, with plain errors. `send`, `replay` and `listen --forward` use it.

mod ca_file;
mod connection;
mod headers;
mod io_error;
mod target;
mod tls;
mod tls_error;
mod transport_error;

pub(crate) use self::connection::{Client, Connection, Outgoing};
pub(crate) use self::headers::{ExtraHeaders, remove_connection_headers, signature_header, user_agent};
pub(crate) use self::target::Target;
pub(crate) use self::transport_error::TransportError;
