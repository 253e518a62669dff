use std::fmt::Write as _;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Error, PgConnection};

use crate::single::Value;

/// The longest time that a statement waits for a lock of another session. An operation tries again later, so that it does
/// not delay the operations behind it.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_millis(50);

/// How statements are sent.
#[derive(Clone, Debug)]
pub(crate) enum Protocol {
    /// As prepared statements. The session has its timeouts from the startup parameter `options`.
    Prepared,
    /// As text, with the settings in front of the statement in the same message. This needs no session state, so it works
    /// with any pooler.
    Simple { settings: String },
}

impl Protocol {
    /// Statements as text, each with its timeouts.
    ///
    /// PostgreSQL executes the statements of one message in one transaction. The isolation level is set because a role or
    /// database can have another default.
    pub(crate) fn simple(statement_timeout: Duration) -> Self {
        let settings = format!(
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}; ",
            LOCK_TIMEOUT.as_millis(),
            statement_timeout.as_millis()
        );
        Self::Simple { settings }
    }

    /// The same protocol inside a transaction that is already open.
    pub(crate) fn inside_transaction(&self) -> Self {
        match self {
            Self::Prepared => Self::Prepared,
            Self::Simple { .. } => Self::Simple { settings: String::new() },
        }
    }
}

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub(crate) enum Parameter<'a> {
    Text(&'a str),
    Bytes([u8; 16]),
    Number(i64),
    Texts(Vec<&'a str>),
    ByteArrays(Vec<[u8; 16]>),
    Numbers(Vec<i64>),
}

impl<'a> From<Value<'a>> for Parameter<'a> {
    fn from(value: Value<'a>) -> Self {
        match value {
            Value::Text(text) => Self::Text(text),
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::Number(number) => Self::Number(number),
        }
    }
}

/// Executes a statement, and returns all rows: it is committed only after its last row.
pub(crate) async fn fetch(
    connection: &mut PgConnection,
    protocol: &Protocol,
    sql: &'static str,
    values: Vec<Parameter<'_>>,
) -> Result<Vec<PgRow>, Error> {
    let Protocol::Simple { settings } = protocol else {
        let mut query = sqlx::query(sql);
        for value in values {
            query = match value {
                Parameter::Text(text) => query.bind(text.to_owned()),
                Parameter::Bytes(bytes) => query.bind(bytes.to_vec()),
                Parameter::Number(number) => query.bind(number),
                Parameter::Texts(texts) => {
                    query.bind(texts.into_iter().map(str::to_owned).collect::<Vec<_>>())
                }
                Parameter::ByteArrays(arrays) => {
                    query.bind(arrays.into_iter().map(|bytes| bytes.to_vec()).collect::<Vec<_>>())
                }
                Parameter::Numbers(numbers) => query.bind(numbers),
            };
        }
        return query.fetch_all(connection).await;
    };
    // Safe: `inline` writes values as numbers and hexadecimal digits only.
    let text = AssertSqlSafe(format!("{settings}{}", inline(sql, &values)));
    sqlx::raw_sql(text).fetch_all(connection).await
}

/// Replaces `$1`, `$2` … by the values.
fn inline(sql: &str, values: &[Parameter<'_>]) -> String {
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(digits);
        let value = number.parse().ok().and_then(|number: usize| values.get(number.checked_sub(1)?));
        match value {
            Some(value) => write_literal(&mut text, value),
            None => {
                text.push('$');
                text.push_str(number);
            }
        }
        text.push_str(rest);
    }
    text
}

fn write_literal(text: &mut String, value: &Parameter<'_>) {
    match value {
        Parameter::Text(value) => write_text(text, value),
        Parameter::Bytes(bytes) => write_bytes(text, bytes),
        Parameter::Number(number) => {
            let _ = write!(text, "CAST({number} AS BIGINT)");
        }
        Parameter::Texts(values) => write_array(text, "TEXT", values, |text, value| write_text(text, value)),
        Parameter::ByteArrays(values) => {
            write_array(text, "BYTEA", values, |text, value| write_bytes(text, value));
        }
        Parameter::Numbers(values) => write_array(text, "BIGINT", values, |text, value| {
            let _ = write!(text, "{value}");
        }),
    }
}

/// Hexadecimal, so that no text needs to be quoted.
fn write_text(text: &mut String, value: &str) {
    text.push_str("convert_from(");
    write_bytes(text, value.as_bytes());
    text.push_str(", 'UTF8')");
}

fn write_bytes(text: &mut String, bytes: &[u8]) {
    text.push_str("decode('");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text.push_str("', 'hex')");
}

fn write_array<T>(text: &mut String, element: &str, values: &[T], write: impl Fn(&mut String, &T)) {
    text.push_str("CAST(ARRAY[");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write(text, value);
    }
    let _ = write!(text, "] AS {element}[])");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_hold_digits_only() {
        let values = [
            Parameter::Text("a'; DROP TABLE x; --"),
            Parameter::Bytes([0xab; 16]),
            Parameter::Numbers(vec![-1, 2]),
        ];
        let text = inline("SELECT $1, $2, $3, $4, '$'", &values);
        assert_eq!(
            text,
            "SELECT convert_from(decode('61273b2044524f50205441424c4520783b202d2d', 'hex'), 'UTF8'), \
             decode('abababababababababababababababab', 'hex'), CAST(ARRAY[-1,2] AS BIGINT[]), $4, '$'"
        );
    }
}
