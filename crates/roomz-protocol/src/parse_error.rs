/// The error of parsing a body that is not an event.
///
/// The message names fields and positions and never quotes the body. `Debug` prints the same message as
/// `Display`.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The body is not UTF-8.
    #[error("the body is not UTF-8: invalid byte at offset {valid_up_to}")]
    #[non_exhaustive]
    NotUtf8 {
        /// The number of valid bytes before the first invalid byte.
        valid_up_to: usize,
    },
    /// The body begins with a byte order mark, which JSON does not allow.
    #[error("the body begins with a byte order mark, which JSON does not allow")]
    ByteOrderMark,
    /// The body is not JSON, or the JSON is incomplete.
    #[error("the body is not JSON: syntax error at line {line}, column {column}")]
    #[non_exhaustive]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The byte in that line, from 1; 0 for the end of the line before.
        column: usize,
    },
    /// The body is JSON, but not an object.
    #[error("the body is JSON, but not an object")]
    NotAnObject,
    /// The body has data other than white space after the object.
    #[error("the body has data after the JSON object at line {line}, column {column}")]
    #[non_exhaustive]
    TrailingData {
        /// The line, from 1.
        line: usize,
        /// The byte in that line, from 1.
        column: usize,
    },
    /// A key that this crate reads occurs more than once, so that two parsers could read two different
    /// events.
    #[error("the key `{key}` occurs more than once")]
    #[non_exhaustive]
    RepeatedKey {
        /// The key, such as `id` or `data.presenceStatus`.
        key: &'static str,
    },
    /// A required field is missing.
    #[error("the field `{field}` is missing")]
    #[non_exhaustive]
    MissingField {
        /// The field: `id` or `type`; in an [`UnknownReason`](crate::UnknownReason), `timestamp`, `data` or a
        /// field of the data.
        field: &'static str,
    },
    /// A required field has the wrong type or format.
    #[error("the field `{field}` is not {expected}")]
    #[non_exhaustive]
    InvalidField {
        /// The field: `id` or `type`; in an [`UnknownReason`](crate::UnknownReason), `timestamp`, `data` or a
        /// field of the data.
        field: &'static str,
        /// The expected content, such as `a UUID`.
        expected: &'static str,
    },
}
