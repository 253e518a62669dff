use http::uri::PathAndQuery;

use crate::build_error::{BuildError, BuildErrorKind};

/// Returns an error if no request can have this path.
pub(crate) fn check_path(path: &str) -> Result<(), BuildError> {
    match path_problem(path) {
        Some(problem) => Err(BuildError::new(BuildErrorKind::Path { path: path.to_owned(), problem })),
        None => Ok(()),
    }
}

/// Returns why no request can have this path.
fn path_problem(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        return Some("it does not start with `/`");
    }
    if path.contains('?') {
        return Some("it contains a query");
    }
    if path.contains('#') {
        return Some("it contains a fragment");
    }
    if path.contains(['{', '}', '*']) {
        return Some("it is a router's pattern, and the layer compares paths literally");
    }
    match path.parse::<PathAndQuery>() {
        Ok(parsed) if parsed.path() == path => None,
        _ => Some("it contains characters that a URI path cannot have"),
    }
}
