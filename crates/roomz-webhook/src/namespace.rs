use crate::build_error::{BuildError, BuildErrorKind};

/// The maximum length of a namespace. It is a part of a key in every store.
const MAX_BYTES: usize = 255;

/// Returns an error if a store cannot keep this namespace.
pub(crate) fn check_namespace(namespace: &str) -> Result<(), BuildError> {
    let problem = if namespace.is_empty() {
        "it is empty"
    } else if namespace.len() > MAX_BYTES {
        "it is longer than 255 bytes"
    } else if namespace.contains(char::is_control) {
        "it contains a control character"
    } else {
        return Ok(());
    };
    Err(BuildError::new(BuildErrorKind::Namespace { namespace: namespace.to_owned(), problem }))
}
