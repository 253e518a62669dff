//! Prints a JSON text as other programs would after parsing it.

use std::collections::{BTreeSet, HashSet};

use serde::Serialize as _;
use serde_json::ser::PrettyFormatter;
use serde_json::{Serializer, Value, from_str};

/// The ASCII characters that a serializer writes as `\u`: none, those of HTML (Go, PHP, Rails, Gson,
/// Newtonsoft), those of System.Text.Json.
const ESCAPED_ASCII: [&str; 5] = ["", "<>&", "<>&'", "<>&'=", "<>&'+`"];

/// Returns the text as common serializers print it, and whether its keys are sorted; nothing if it is not
/// JSON.
pub(super) fn print_in_all_ways(json: &str) -> Vec<(String, bool)> {
    let Ok(mut value) = from_str::<Value>(json) else { return Vec::new() };
    let mut layouts = layouts(&value).map(|text| (text, false)).to_vec();
    value.sort_all_objects();
    layouts.extend(self::layouts(&value).map(|text| (text, true)));
    let mut printed = HashSet::new();
    let mut forms = Vec::new();
    for (layout, is_sorted) in &layouts {
        for ascii in ESCAPED_ASCII {
            for flags in 0..8 {
                let text = escape(layout, ascii, flags & 1 > 0, flags & 2 > 0, flags & 4 > 0);
                if printed.insert(text.clone()) {
                    forms.push((text, *is_sorted));
                }
            }
        }
    }
    forms
}

/// Compact, with a space after commas and colons, and with one member per line.
fn layouts(value: &Value) -> [String; 5] {
    let indented = |indent: &str| {
        let mut text = Vec::new();
        let formatter = PrettyFormatter::with_indent(indent.as_bytes());
        // Writing to a vector does not fail.
        let _ = value.serialize(&mut Serializer::with_formatter(&mut text, formatter));
        String::from_utf8(text).unwrap_or_default()
    };
    // Inside a string, a line end is escaped.
    let spaced = indented("").replace(",\n", ", ").replace('\n', "");
    [value.to_string(), spaced, indented("  "), indented("    "), indented("\t")]
}

/// Writes these ASCII characters, and all others if wanted, as `\u`. JSON has them in strings only.
fn escape(json: &str, ascii: &str, non_ascii: bool, upper_case: bool, slash: bool) -> String {
    let mut output = String::new();
    for character in json.chars() {
        if ascii.contains(character) || non_ascii && character > '~' {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let digits = format!("{unit:04x}");
                output += "\\u";
                output += &if upper_case { digits.to_uppercase() } else { digits };
            }
        } else if slash && character == '/' {
            output += "\\/";
        } else {
            output.push(character);
        }
    }
    output
}

/// Names up to three characters that were escaped otherwise in the form that was signed.
pub(super) fn describe_change(here: &str, signed: &str) -> String {
    let (here, signed) = (escape_sequences(here), escape_sequences(signed));
    let of_here = here.difference(&signed).map(|escape| format!("here {escape}"));
    let of_signed = signed.difference(&here).map(|escape| format!("when it was signed {escape}"));
    let changes: Vec<_> = of_here.chain(of_signed).take(3).collect();
    if changes.is_empty() { String::new() } else { format!(": {}", changes.join(", ")) }
}

/// The escapes in a JSON text, such as `` `\u002B` for `+` ``.
fn escape_sequences(json: &str) -> BTreeSet<String> {
    let json = json.replace("\\\\", "");
    let escapes = json.split('\\').skip(1).filter_map(|rest| {
        let escape = format!("\\{}", rest.get(..if rest.starts_with('u') { 5 } else { 1 })?);
        // A half of a pair of surrogates is not a character.
        let character = from_str::<String>(&format!("\"{escape}\"")).ok();
        let meaning = character.map_or(String::new(), |character| format!(" for `{character}`"));
        Some(format!("`{escape}`{meaning}"))
    });
    escapes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is printed has the same value.
    #[test]
    fn every_form_has_same_value() {
        let json = "{ \"ü\\u00FC\": \"\\u002B<>&'=`\\/\\\"\\\\\\b\\u0001\\u2028😀\\ud83d\\ude00\u{7f}\", \"a\": [1.50, 1E2, {}] }";
        let value: Value = from_str(json).unwrap();
        let forms = print_in_all_ways(json);
        assert!(forms.len() > 200, "{}", forms.len());
        for (form, _) in forms {
            assert_eq!(from_str::<Value>(&form).unwrap(), value, "{form}");
        }
    }

    #[test]
    fn prints_layouts_of_common_serializers() {
        let compact = r#"{"a":[1,{}],"c, d":"\n"}"#;
        let forms: Vec<_> = print_in_all_ways(compact).into_iter().map(|(text, _)| text).collect();
        for layout in [
            compact,
            r#"{"a": [1, {}], "c, d": "\n"}"#,
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"c, d\": \"\\n\"\n}",
            "{\n\t\"a\": [\n\t\t1,\n\t\t{}\n\t],\n\t\"c, d\": \"\\n\"\n}",
        ] {
            assert!(forms.iter().any(|form| form == layout), "{layout}: {forms:?}");
        }
    }

    #[test]
    fn invalid_json_has_no_other_form() {
        for json in ["{", "x", "}", "{}}", "", "\"", "\"\\", "\"\\u12\"", "\u{feff}{}"] {
            assert_eq!(print_in_all_ways(json).len(), 0, "{json}");
        }
    }

    #[test]
    fn escape_sequences_name_their_characters() {
        let json = r#"["\\u0041\u00fc\/\ud83d\ude00\u0041"]"#;
        let found = [r"`\/` for `/`", r"`\u0041` for `A`", r"`\u00fc` for `ü`", r"`\ud83d`", r"`\ude00`"];
        assert_eq!(escape_sequences(json).into_iter().collect::<Vec<_>>(), found);
    }
}
