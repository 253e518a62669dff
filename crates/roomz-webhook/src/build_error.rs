use http::uri::PathAndQuery;
use roomz_protocol::debug_error_chain;

/// The maximum length of a namespace. It is a part of a key in every store.
const MAX_NAMESPACE_BYTES: usize = 255;

/// A setting of [`WebhookLayerBuilder`](crate::WebhookLayerBuilder), or a [`Tenant`](crate::Tenant), cannot
/// work.
///
/// The message names the setting and its value, and says what to do. `Debug` prints it too, because an error
/// that `main` returns is printed with `Debug`.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BuildError(pub(crate) String);

/// Returns an error if no request can have this path.
pub(crate) fn check_path(path: &str) -> Result<(), BuildError> {
    let problem = if !path.starts_with('/') {
        "it does not start with `/`"
    } else if path.contains('?') {
        "it contains a query"
    } else if path.contains('#') {
        "it contains a fragment"
    } else if path.contains(['{', '}', '*']) {
        "it is a router's pattern, and the layer compares paths literally"
    } else if path.parse::<PathAndQuery>().is_ok_and(|parsed| parsed.path() == path) {
        return Ok(());
    } else {
        "it contains characters that a URI path cannot have"
    };
    Err(BuildError(format!(
        "the path is {path:?}: {problem}; set the path as the request has it, such as \"/webhooks/roomz\""
    )))
}

/// Returns an error if a store cannot keep this namespace.
pub(crate) fn check_namespace(namespace: &str) -> Result<(), BuildError> {
    let problem = if namespace.is_empty() {
        "it is empty"
    } else if namespace.len() > MAX_NAMESPACE_BYTES {
        "it is longer than 255 bytes"
    } else if namespace.contains(char::is_control) {
        "it contains a control character"
    } else {
        return Ok(());
    };
    let start: String = namespace.chars().take(64).collect();
    Err(BuildError(format!("the namespace is {start:?}: {problem}; set a short name, such as \"roomz\"")))
}

debug_error_chain!(BuildError);
