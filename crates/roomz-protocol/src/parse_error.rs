use std::fmt;

/// The error of parsing a body that is not an event.
///
/// The message names fields and positions and never quotes the body. `Debug` prints the same message as
/// `Display`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// The body is not UTF-8.
    #[non_exhaustive]
    NotUtf8 {
        /// The number of valid bytes before the first invalid byte.
        valid_up_to: usize,
    },
    /// The body begins with a byte order mark, which JSON does not allow.
    ByteOrderMark,
    /// The body is not JSON, or the JSON is incomplete.
    #[non_exhaustive]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The byte in that line, from 1; 0 for the end of the line before.
        column: usize,
    },
    /// The body is JSON, but not an object.
    NotAnObject,
    /// The body has data other than white space after the object.
    #[non_exhaustive]
    TrailingData {
        /// The line, from 1.
        line: usize,
        /// The byte in that line, from 1.
        column: usize,
    },
    /// A key that this crate reads occurs more than once, so that two parsers could read two different
    /// events.
    #[non_exhaustive]
    RepeatedKey {
        /// The key, such as `id` or `data.presenceStatus`.
        key: &'static str,
    },
    /// A required field is missing.
    #[non_exhaustive]
    MissingField {
        /// The field: `id` or `type`; in an [`UnknownReason`](crate::UnknownReason), `timestamp`, `data` or a
        /// field of the data.
        field: &'static str,
    },
    /// A required field has the wrong type or format.
    #[non_exhaustive]
    InvalidField {
        /// The field: `id` or `type`; in an [`UnknownReason`](crate::UnknownReason), `timestamp`, `data` or a
        /// field of the data.
        field: &'static str,
        /// The expected content, such as `a UUID`.
        expected: &'static str,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 { valid_up_to } => {
                write!(f, "the body is not UTF-8: invalid byte at offset {valid_up_to}")
            }
            Self::ByteOrderMark => {
                f.write_str("the body begins with a byte order mark, which JSON does not allow")
            }
            Self::NotJson { line, column } => {
                write!(f, "the body is not JSON: syntax error at line {line}, column {column}")
            }
            Self::NotAnObject => f.write_str("the body is JSON, but not an object"),
            Self::TrailingData { line, column } => {
                write!(f, "the body has data after the JSON object at line {line}, column {column}")
            }
            Self::RepeatedKey { key } => write!(f, "the key `{key}` occurs more than once"),
            Self::MissingField { field } => write!(f, "the field `{field}` is missing"),
            Self::InvalidField { field, expected } => {
                write!(f, "the field `{field}` is not {expected}")
            }
        }
    }
}

impl std::error::Error for ParseError {}
