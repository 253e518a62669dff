//! What a program makes of a JSON text when it reads it and writes it anew.
//!
//! Works on the text: the order of keys and the spelling of numbers stay, which a parser would lose.

use serde_json::Value;

/// White space between the tokens.
#[derive(Clone, Copy)]
pub(crate) enum Layout {
    /// None.
    Compact,
    /// One blank after `,` and `:`, as Python's `json.dumps` has it.
    Spaced,
    /// Lines, each level indented by this.
    Indented(&'static str),
}

/// How strings are spelt.
#[derive(Clone, Copy)]
pub(crate) enum Strings {
    /// As they are.
    Kept,
    /// `/` as `\/`, as PHP has it.
    SlashesEscaped,
    /// `\/` as `/`.
    SlashesPlain,
}

/// The text in another layout; nothing where it is no JSON object or array.
pub(crate) fn reformat(json: &str, layout: Layout, strings: Strings) -> Option<String> {
    serde_json::from_str::<Value>(json).ok()?;
    let json = json.trim_matches([' ', '\t', '\r', '\n']);
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => {}
            '"' => copy_string(&mut characters, strings, &mut out),
            '{' | '[' => {
                out.push(character);
                while characters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(close) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    new_line(&mut out, layout, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, layout, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                match layout {
                    Layout::Spaced => out.push(' '),
                    _ => new_line(&mut out, layout, depth),
                }
            }
            ':' => out.push_str(if matches!(layout, Layout::Compact) { ":" } else { ": " }),
            other => out.push(other),
        }
    }
    Some(out)
}

/// The text with the keys of every object in alphabetical order, compact.
pub(crate) fn sorted(json: &str) -> Option<String> {
    let mut value: Value = serde_json::from_str(json).ok()?;
    // They are sorted already, unless some crate switches on `preserve_order` of `serde_json`.
    value.sort_all_objects();
    Some(value.to_string())
}

fn copy_string(characters: &mut impl Iterator<Item = char>, strings: Strings, out: &mut String) {
    out.push('"');
    while let Some(character) = characters.next() {
        match (character, strings) {
            ('"', _) => break,
            ('/', Strings::SlashesEscaped) => out.push_str("\\/"),
            ('\\', _) => match (characters.next(), strings) {
                (Some('/'), Strings::SlashesPlain) => out.push('/'),
                (Some(escaped), _) => out.extend(['\\', escaped]),
                (None, _) => {}
            },
            _ => out.push(character),
        }
    }
    out.push('"');
}

fn new_line(out: &mut String, layout: Layout, depth: usize) {
    if let Layout::Indented(indent) = layout {
        out.push('\n');
        out.extend(std::iter::repeat_n(indent, depth));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPACT: &str = r#"{"b":1.50,"a":[{"x":"a, b: \"c\" {} \\"},{},[]],"c":{}}"#;

    #[test]
    fn compact_and_indented_lead_to_each_other() {
        for layout in [Layout::Indented("  "), Layout::Indented("\t"), Layout::Spaced, Layout::Compact] {
            let other = reformat(COMPACT, layout, Strings::Kept).unwrap();
            assert_eq!(reformat(&other, Layout::Compact, Strings::Kept).unwrap(), COMPACT, "{other}");
        }
    }

    #[test]
    fn indented_is_what_serde_json_calls_pretty() {
        let value: Value = serde_json::from_str(r#"{"a":[1,{"b":"c"}],"d":{"e":[]}}"#).unwrap();
        let ours = reformat(&value.to_string(), Layout::Indented("  "), Strings::Kept).unwrap();
        assert_eq!(ours, serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn slashes_change_only_within_strings() {
        let escaped = reformat(r#"{"a":"b/c\n"}"#, Layout::Compact, Strings::SlashesEscaped).unwrap();
        assert_eq!(escaped, r#"{"a":"b\/c\n"}"#);
        assert_eq!(reformat(&escaped, Layout::Compact, Strings::SlashesPlain).unwrap(), r#"{"a":"b/c\n"}"#);
    }

    #[test]
    fn what_is_no_json_has_no_other_form() {
        assert!(reformat("{", Layout::Compact, Strings::Kept).is_none());
        assert!(sorted("x").is_none());
    }
}
