use std::fmt;

/// A body that is not an event. Its text names fields and positions and never quotes the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(ParseErrorKind);

impl ParseError {
    /// What was wrong.
    #[must_use]
    pub const fn kind(&self) -> &ParseErrorKind {
        &self.0
    }
}

impl From<ParseErrorKind> for ParseError {
    fn from(kind: ParseErrorKind) -> Self {
        Self(kind)
    }
}

/// What was wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The body is not UTF-8 throughout.
    #[non_exhaustive]
    NotUtf8 {
        /// The number of bytes before the first that is wrong.
        valid_up_to: usize,
    },
    /// The body begins with a byte order mark, which JSON does not allow.
    ByteOrderMark,
    /// The body is not JSON, or ends too early.
    #[non_exhaustive]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The byte in that line, from 1; 0 for the end of the line before.
        column: usize,
    },
    /// The body is JSON, but not an object.
    NotAnObject,
    /// Something other than white space follows the object.
    #[non_exhaustive]
    TrailingData {
        /// The line, from 1.
        line: usize,
        /// The byte in that line, from 1.
        column: usize,
    },
    /// A key that is read stands there twice, so that two readers could see two events.
    #[non_exhaustive]
    RepeatedKey {
        /// The key, such as `id` or `data.presenceStatus`.
        key: &'static str,
    },
    /// A field that every event has is absent.
    #[non_exhaustive]
    MissingField {
        /// The field: `id`, `type`, `timestamp` or `data`.
        field: &'static str,
    },
    /// A field that every event has holds something else.
    #[non_exhaustive]
    InvalidField {
        /// The field: `id`, `type` or `timestamp`.
        field: &'static str,
        /// What it should have held, such as `a UUID`.
        expected: &'static str,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ParseErrorKind::NotUtf8 { valid_up_to } => {
                write!(f, "the body is not UTF-8: byte {valid_up_to} (from 0) is wrong")
            }
            ParseErrorKind::ByteOrderMark => {
                f.write_str("the body begins with a byte order mark, which JSON does not allow")
            }
            ParseErrorKind::NotJson { line, column } => {
                write!(f, "the body is not JSON: it goes wrong at line {line}, column {column}")
            }
            ParseErrorKind::NotAnObject => f.write_str("the body is JSON, but not an object"),
            ParseErrorKind::TrailingData { line, column } => {
                write!(f, "something follows the JSON object at line {line}, column {column}")
            }
            ParseErrorKind::RepeatedKey { key } => write!(f, "the key `{key}` stands there twice"),
            ParseErrorKind::MissingField { field } => write!(f, "the field `{field}` is missing"),
            ParseErrorKind::InvalidField { field, expected } => {
                write!(f, "the field `{field}` is not {expected}")
            }
        }
    }
}

impl std::error::Error for ParseError {}
