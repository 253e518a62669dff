//! Rewrites a JSON text as other programs would after parsing it.

use serde::de::IgnoredAny;
use serde_json::Value;

/// White space between tokens.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) comma: &'static str,
    pub(super) colon: &'static str,
    /// One member per line, each level indented by this text.
    pub(super) indent: Option<&'static str>,
}

/// Returns the text in another layout, or `None` if it is not JSON.
///
/// It works on the text, because a parser would lose the order of keys and the format of numbers and strings.
pub(super) fn reformat(json: &str, layout: Layout) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(json).ok()?;
    let mut output = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let (mut is_in_string, mut is_escaped) = (false, false);
    let mut previous = ' ';
    for character in json.chars() {
        if is_in_string {
            output.push(character);
            is_in_string = is_escaped || character != '"';
            is_escaped = character == '\\' && !is_escaped;
            continue;
        }
        if character.is_ascii_whitespace() {
            continue;
        }
        let (opened, closes) = (matches!(previous, '{' | '['), matches!(character, '}' | ']'));
        depth -= usize::from(closes);
        // An empty object or array stays on one line.
        let breaks_line = if closes { !opened } else { opened || previous == ',' };
        if let Some(indent) = layout.indent.filter(|_| breaks_line) {
            output.push('\n');
            output.push_str(&indent.repeat(depth));
        }
        match character {
            ',' => output.push_str(layout.comma),
            ':' => output.push_str(layout.colon),
            other => output.push(other),
        }
        depth += usize::from(matches!(character, '{' | '['));
        is_in_string = character == '"';
        previous = character;
    }
    Some(output)
}

/// Returns the text with the keys of every object in alphabetical order, compact, or `None` if it is not
/// JSON.
pub(super) fn sort_keys(json: &str) -> Option<String> {
    let mut value: Value = serde_json::from_str(json).ok()?;
    // Needed only if another crate enables the feature `preserve_order` of `serde_json`.
    value.sort_all_objects();
    Some(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPACT: Layout = Layout { comma: ",", colon: ":", indent: None };
    const INDENTED: Layout = Layout { comma: ",", colon: ": ", indent: Some("  ") };
    const JSON: &str = r#"{"b":1.50,"a":[{"x":"a, b: \"c\" {} \\"},{},[]],"c":{}}"#;

    #[test]
    fn layouts_convert_to_each_other() {
        let (tabs, spaced) =
            (Layout { indent: Some("\t"), ..INDENTED }, Layout { comma: ", ", indent: None, ..INDENTED });
        for layout in [INDENTED, tabs, spaced, COMPACT] {
            let other = reformat(JSON, layout).unwrap();
            assert_eq!(reformat(&other, COMPACT).unwrap(), JSON, "{other}");
        }
        assert_eq!(reformat(r#"{"a":[1,{}]}"#, spaced).unwrap(), r#"{"a": [1, {}]}"#);
    }

    #[test]
    fn indented_equals_serde_json_pretty() {
        let value: Value = serde_json::from_str(r#"{"a":[1,{"b":"c"}],"d":{"e":[]}}"#).unwrap();
        let indented = reformat(&value.to_string(), INDENTED).unwrap();
        assert_eq!(indented, serde_json::to_string_pretty(&value).unwrap());
    }

    /// `serde_json::Value` refuses these.
    #[test]
    fn any_number_and_depth_is_reformatted() {
        for json in
            [r#"{"a":1e999}"#.to_owned(), r#"{"a":"\ud800"}"#.to_owned(), "[".repeat(200) + &"]".repeat(200)]
        {
            assert_eq!(reformat(&json, COMPACT).unwrap(), json);
        }
    }

    #[test]
    fn invalid_json_has_no_other_form() {
        for json in ["{", "x", "}", "{}}", ""] {
            assert!(reformat(json, COMPACT).is_none() && sort_keys(json).is_none(), "{json}");
        }
    }
}
