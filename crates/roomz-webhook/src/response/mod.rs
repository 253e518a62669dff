//! Responses that the layer sends itself, and the response body type.

mod body;
mod early;
mod rejection;
mod skipped;

pub use self::body::ResponseBody;
pub(crate) use self::early::EarlyResponse;
pub use self::rejection::{Rejection, RejectionKind};
pub use self::skipped::Skipped;
