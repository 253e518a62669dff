use std::sync::Arc;

use roomz_webhook::store::ClaimKey;
use sqlx::Error;

/// A parameter of a statement, or a column of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    Null,
    Text(Arc<str>),
    Bytes(Vec<u8>),
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<&[u8; 16]> for Value {
    fn from(bytes: &[u8; 16]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl Value {
    /// Returns the namespace and the event id of a key.
    pub fn key(key: &ClaimKey) -> [Self; 2] {
        [Self::from(key.namespace()), Self::from(key.id().as_uuid().as_bytes())]
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub(crate) const fn as_number(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }
}

/// A row that a statement returned.
#[derive(Clone, Debug)]
pub struct Row(pub(crate) Vec<Value>);

impl Row {
    /// Returns the number in this column. A boolean is 0 or 1.
    pub fn number(&self, column: usize) -> Result<i64, Error> {
        self.0.get(column).and_then(Value::as_number).ok_or_else(|| unexpected(column, "a number"))
    }

    pub fn text(&self, column: usize) -> Result<&str, Error> {
        self.0.get(column).and_then(Value::as_text).ok_or_else(|| unexpected(column, "text"))
    }

    pub fn bytes(&self, column: usize) -> Result<&[u8], Error> {
        self.0.get(column).and_then(Value::as_bytes).ok_or_else(|| unexpected(column, "bytes"))
    }

    pub fn is_null(&self, column: usize) -> bool {
        self.0.get(column) == Some(&Value::Null)
    }
}

fn unexpected(column: usize, expected: &str) -> Error {
    Error::Decode(format!("column {column} of a row does not hold {expected}").into())
}
