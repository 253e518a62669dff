//! Rewrites a JSON text as other programs would after parsing it.
//!
//! It works on the text, because a parser would lose the order of keys and the format of numbers.

use serde_json::Value;

/// White space between tokens.
#[derive(Clone, Copy)]
pub(super) enum Layout {
    /// No white space.
    Compact,
    /// One space after `,` and `:`, like Python's `json.dumps`.
    Spaced,
    /// One member per line, each level indented by this text.
    Indented(&'static str),
}

/// How `/` is written in strings.
#[derive(Clone, Copy)]
pub(super) enum Slashes {
    Keep,
    /// `/` becomes `\/`, like PHP's `json_encode`.
    Escape,
    /// `\/` becomes `/`.
    Unescape,
}

/// Returns the text in another layout, or `None` if it is not JSON.
pub(super) fn reformat(json: &str, layout: Layout, slashes: Slashes) -> Option<String> {
    serde_json::from_str::<Value>(json).ok()?;
    let json = json.trim_matches([' ', '\t', '\r', '\n']);
    let mut output = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => {}
            '"' => copy_string(&mut characters, slashes, &mut output),
            '{' | '[' => {
                output.push(character);
                while characters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                // An empty object or array stays on one line.
                if let Some(close) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    output.push(close);
                } else {
                    depth += 1;
                    break_line(&mut output, layout, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut output, layout, depth);
                output.push(character);
            }
            ',' => {
                output.push(',');
                match layout {
                    Layout::Spaced => output.push(' '),
                    _ => break_line(&mut output, layout, depth),
                }
            }
            ':' => output.push_str(if matches!(layout, Layout::Compact) { ":" } else { ": " }),
            other => output.push(other),
        }
    }
    Some(output)
}

/// Returns the text with the keys of every object in alphabetical order, compact, or `None` if it is not JSON.
pub(super) fn sort_keys(json: &str) -> Option<String> {
    let mut value: Value = serde_json::from_str(json).ok()?;
    // Needed only if another crate enables the feature `preserve_order` of `serde_json`.
    value.sort_all_objects();
    Some(value.to_string())
}

/// Copies a string up to its closing quote. The opening quote is already consumed.
fn copy_string(characters: &mut impl Iterator<Item = char>, slashes: Slashes, output: &mut String) {
    output.push('"');
    while let Some(character) = characters.next() {
        match (character, slashes) {
            ('"', _) => break,
            ('/', Slashes::Escape) => output.push_str("\\/"),
            ('\\', _) => match (characters.next(), slashes) {
                (Some('/'), Slashes::Unescape) => output.push('/'),
                (Some(escaped), _) => output.extend(['\\', escaped]),
                (None, _) => {}
            },
            _ => output.push(character),
        }
    }
    output.push('"');
}

/// Starts a new line in an indented layout; does nothing in the other layouts.
fn break_line(output: &mut String, layout: Layout, depth: usize) {
    if let Layout::Indented(indent) = layout {
        output.push('\n');
        output.extend(std::iter::repeat_n(indent, depth));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPACT: &str = r#"{"b":1.50,"a":[{"x":"a, b: \"c\" {} \\"},{},[]],"c":{}}"#;

    #[test]
    fn layouts_convert_to_each_other() {
        for layout in [Layout::Indented("  "), Layout::Indented("\t"), Layout::Spaced, Layout::Compact] {
            let other = reformat(COMPACT, layout, Slashes::Keep).unwrap();
            assert_eq!(reformat(&other, Layout::Compact, Slashes::Keep).unwrap(), COMPACT, "{other}");
        }
    }

    #[test]
    fn indented_equals_serde_json_pretty() {
        let value: Value = serde_json::from_str(r#"{"a":[1,{"b":"c"}],"d":{"e":[]}}"#).unwrap();
        let indented = reformat(&value.to_string(), Layout::Indented("  "), Slashes::Keep).unwrap();
        assert_eq!(indented, serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn slashes_change_only_in_strings() {
        let escaped = reformat(r#"{"a":"b/c\n"}"#, Layout::Compact, Slashes::Escape).unwrap();
        assert_eq!(escaped, r#"{"a":"b\/c\n"}"#);
        assert_eq!(reformat(&escaped, Layout::Compact, Slashes::Unescape).unwrap(), r#"{"a":"b/c\n"}"#);
    }

    #[test]
    fn invalid_json_has_no_other_form() {
        assert!(reformat("{", Layout::Compact, Slashes::Keep).is_none());
        assert!(sort_keys("x").is_none());
    }
}
