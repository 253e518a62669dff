//! Values as SQL text, for statements that a pooler may execute in any session.

use std::fmt::Write as _;

use crate::db::value::Value;

/// Replaces `$1`, `$2` … by the values of a column: one value, or an array of several.
pub(super) fn inline(sql: &str, columns: &[Vec<&Value>]) -> String {
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(digits);
        let values = number.parse().ok().and_then(|number: usize| columns.get(number.checked_sub(1)?));
        match values.map(Vec::as_slice) {
            Some([value]) => write_literal(&mut text, value),
            Some(values) => write_array(&mut text, values),
            None => {
                text.push('$');
                text.push_str(number);
            }
        }
        text.push_str(rest);
    }
    text
}

fn write_array(text: &mut String, values: &[&Value]) {
    text.push_str("CAST(ARRAY[");
    for (index, value) in values.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { "," });
        write_literal(text, value);
    }
    text.push_str(match values.first() {
        Some(Value::Bytes(_)) => "] AS BYTEA[])",
        Some(Value::Number(_)) => "] AS BIGINT[])",
        _ => "] AS TEXT[])",
    });
}

/// Text and bytes in hexadecimal digits, so that nothing needs to be quoted.
fn write_literal(text: &mut String, value: &Value) {
    match value {
        Value::Bytes(bytes) => write_bytes(text, bytes),
        Value::Text(value) => {
            text.push_str("convert_from(");
            write_bytes(text, value.as_bytes());
            text.push_str(", 'UTF8')");
        }
        Value::Number(number) => {
            let _ = write!(text, "CAST({number} AS BIGINT)");
        }
        Value::Null => text.push_str("CAST(NULL AS TEXT)"),
    }
}

fn write_bytes(text: &mut String, bytes: &[u8]) {
    text.push_str("decode('");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text.push_str("', 'hex')");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_hold_digits_only() {
        let (text, bytes) = (Value::from("a'; DROP TABLE x; --"), Value::Bytes(vec![0xab; 3]));
        let numbers = [Value::Number(-1), Value::Number(2)];
        let text =
            inline("SELECT $1, $2, $3, $4, '$'", &[vec![&text], vec![&bytes], numbers.iter().collect()]);
        assert_eq!(
            text,
            "SELECT convert_from(decode('61273b2044524f50205441424c4520783b202d2d', 'hex'), 'UTF8'), \
             decode('ababab', 'hex'), CAST(ARRAY[CAST(-1 AS BIGINT),CAST(2 AS BIGINT)] AS BIGINT[]), $4, '$'"
        );
    }
}
