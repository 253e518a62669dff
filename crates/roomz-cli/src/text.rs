use std::fmt::Write as _;

/// Text from outside, fit for a terminal: what controls it, marks of direction and other invisible characters are
/// escaped, and so are line ends.
pub(crate) fn safe(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // `escape_debug` would escape these, which do no harm here.
            '"' | '\'' | '\\' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

/// The same, cut after this many characters.
pub(crate) fn safe_start(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => safe(text),
        Some((end, _)) => {
            let mut shown = safe(text.get(..end).unwrap_or_default());
            let _ = write!(shown, "… ({} bytes)", text.len());
            shown
        }
    }
}

/// A JSON text in which nothing controls a terminal, and which stands for the same.
pub(crate) fn safe_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        let escaped = !matches!(character, '"' | '\'' | '\\') && character.escape_debug().len() > 1;
        if escaped {
            // Such a character stands within a string, and there JSON has this spelling for it.
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A message of one line, with what comes from outside (names of files, of hosts) made safe.
pub(crate) fn one_line(text: &str) -> String {
    safe(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_controls_a_terminal_passes() {
        let evil = "\u{1b}[2J\r\n\u{7}\u{202e}\u{2066}\u{200f}\u{9b}31m\u{0}\u{feff}";
        assert!(safe(evil).chars().all(|c| (' '..='~').contains(&c)), "{}", safe(evil));
    }

    #[test]
    fn letters_quotes_and_backslashes_stay() {
        assert_eq!(safe(r#"{"a":"Zürich \u202e"}"#), r#"{"a":"Zürich \u202e"}"#);
    }

    #[test]
    fn json_stays_the_same_and_is_safe() {
        let value = serde_json::json!({ "a'\\": "\u{1b}[2J\u{202e}\u{9b}\u{7f}é\"\n\u{feff}\u{e0001}😀" });
        let text = safe_json(&value.to_string());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert!(text.chars().all(|c| (' '..='~').contains(&c) || c == 'é' || c == '😀'), "{text}");
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        assert_eq!(safe_start("äöü", 3), "äöü");
        assert_eq!(safe_start("äöüx", 3), "äöü… (7 bytes)");
    }
}
