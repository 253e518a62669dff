//! Escapes untrusted text for a terminal.

/// `escape_debug` also escapes quotation marks and backslashes, but they are harmless in a terminal.
fn is_harmless(character: char) -> bool {
    matches!(character, '"' | '\'' | '\\') || character.escape_debug().len() == 1
}

/// Escapes control characters, line ends, direction marks and other invisible characters.
pub(crate) fn escape(text: &str) -> String {
    let escape = |c: char| if is_harmless(c) { c.to_string() } else { c.escape_debug().to_string() };
    text.chars().map(escape).collect()
}

/// Escapes at most `max_chars` characters and notes the full length when it cuts the text.
pub(crate) fn escape_truncated(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        None => escape(text),
        Some((end, _)) => format!("{}… ({} bytes)", escape(text.get(..end).unwrap_or_default()), text.len()),
    }
}

/// Escapes a JSON text with JSON escapes, so that it parses to the same value: in compact JSON such a
/// character only occurs inside a string.
pub(crate) fn escape_json(json: &str) -> String {
    let escape = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    json.chars().map(|c| if is_harmless(c) { c.to_string() } else { escape(c) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_terminal_controls() {
        let evil = "\u{1b}[2J\r\n\u{7}\u{202e}\u{2066}\u{200f}\u{9b}31m\u{0}\u{feff}";
        assert!(escape(evil).chars().all(|c| (' '..='~').contains(&c)), "{}", escape(evil));
    }

    #[test]
    fn keeps_letters_quotes_and_backslashes() {
        assert_eq!(escape(r#"{"a":"Zürich \u202e"}"#), r#"{"a":"Zürich \u202e"}"#);
    }

    #[test]
    fn escaped_json_parses_to_same_value() {
        let value = serde_json::json!({ "a'\\": "\u{1b}[2J\u{202e}\u{9b}\u{7f}é\"\n\u{feff}\u{e0001}😀" });
        let text = escape_json(&value.to_string());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert!(text.chars().all(|c| (' '..='~').contains(&c) || c == 'é' || c == '😀'), "{text}");
    }

    #[test]
    fn truncated_text_shows_its_length() {
        assert_eq!(escape_truncated("äöü", 3), "äöü");
        assert_eq!(escape_truncated("äöüx", 3), "äöü… (7 bytes)");
    }
}
