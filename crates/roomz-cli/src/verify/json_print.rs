//! Prints a JSON text as other programs would after parsing it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// Keys of a deeper text are not sorted, because each level is parsed again.
const MAX_SORTED_DEPTH: usize = 500;

/// A longer text is not printed to its end, so it matches no signature.
const MAX_PRINTED: usize = 64 * 1024;

/// White space between tokens: after a comma, after a colon, and for each level, with one member per line.
#[derive(Clone, Copy)]
struct Layout(&'static str, &'static str, Option<&'static str>);

/// The layouts of common serializers. `None` keeps the white space.
const LAYOUTS: [Option<Layout>; 6] = [
    None,
    Some(Layout("", "", None)),
    Some(Layout(" ", " ", None)),
    Some(Layout("", " ", Some("  "))),
    Some(Layout("", " ", Some("    "))),
    Some(Layout("", " ", Some("\t"))),
];

/// The ASCII characters that a serializer writes as `\u`: none, those of HTML (Go, PHP, Rails, Gson,
/// Newtonsoft), those of System.Text.Json.
const ESCAPED_ASCII: [&str; 6] = ["", "<>&", "<>&'", "<>&'\"", "<>&'=", "<>&'\"+`"];

/// How a serializer writes the characters of a string that it may write in several ways.
#[derive(Clone, Copy)]
struct Escapes {
    ascii: &'static str,
    /// All other characters as `\u`.
    non_ascii: bool,
    upper_case: bool,
    slash: bool,
}

/// A text with the same value.
pub(super) struct Printed {
    pub(super) text: String,
    pub(super) is_sorted: bool,
    pub(super) has_other_numbers: bool,
}

/// Returns the text as common serializers print it, or nothing if it is not JSON.
///
/// It works on the text, because a parser loses the order of keys and the format of numbers, and refuses
/// numbers, depths and surrogates that a serializer passes on.
pub(super) fn print_in_all_ways(json: &str) -> impl Iterator<Item = Printed> {
    let is_json = serde_json::from_str::<IgnoredAny>(json).is_ok();
    let mut texts = HashSet::new();
    let orders = [Some(json.to_owned()), sort_keys(json, MAX_SORTED_DEPTH)].into_iter().enumerate();
    let mut forms = Vec::new();
    for (order, text) in orders.filter_map(|(order, text)| Some((order, text.filter(|_| is_json)?))) {
        for suffix in [None, Some(""), Some(".0")] {
            let tokens: Vec<String> = tokens(&text).map(|token| reprint_number(token, suffix)).collect();
            let has_other_numbers = tokens.concat() != text;
            for escapes in std::iter::once(None).chain(all_escapes().map(Some)) {
                let tokens: Vec<String> = tokens.iter().map(|token| escape(token, escapes)).collect();
                if texts.insert(tokens.concat()) {
                    forms.push((tokens, order == 1, has_other_numbers));
                }
            }
        }
    }
    forms.into_iter().flat_map(|(tokens, is_sorted, has_other_numbers)| {
        LAYOUTS.map(|layout| Printed { text: lay_out(&tokens, layout), is_sorted, has_other_numbers })
    })
}

/// Names up to three characters that were escaped otherwise when the body was signed.
pub(super) fn describe_escapes(here: &str, signed: &str) -> Option<String> {
    let (here, signed) = (escape_sequences(here), escape_sequences(signed));
    let of_here = here.difference(&signed).map(|escape| ("here", escape));
    let of_signed = signed.difference(&here).map(|escape| ("when it was signed", escape));
    let escapes = of_here.chain(of_signed).take(3).map(|(time, escape)| {
        let character = serde_json::from_str::<String>(&format!("\"{escape}\""));
        format!("{time} `{escape}` for `{}`", character.unwrap_or_default())
    });
    let escapes: Vec<_> = escapes.collect();
    (!escapes.is_empty()).then(|| escapes.join(", "))
}

/// The escapes in a JSON text that have another spelling.
fn escape_sequences(json: &str) -> BTreeSet<&str> {
    let mut sequences = BTreeSet::new();
    let mut rest = json;
    while let Some(start) = rest.find('\\') {
        let text = rest.get(start..).unwrap_or_default();
        let is_unit = |text: &str| text.starts_with("\\u");
        let length = match (is_unit(text), text.get(2..4).map(str::to_ascii_lowercase)) {
            // A pair of surrogates is one character.
            (true, Some(unit)) if ("d8".."dc").contains(&&*unit) && text.get(6..).is_some_and(is_unit) => 12,
            (true, _) => 6,
            _ => 2,
        };
        let (sequence, after) = text.split_at_checked(length).unwrap_or((text, ""));
        if is_unit(sequence) || sequence == "\\/" {
            sequences.insert(sequence);
        }
        rest = after;
    }
    sequences
}

fn all_escapes() -> impl Iterator<Item = Escapes> {
    let flags = |ascii, bits: u8| Escapes {
        ascii,
        non_ascii: bits & 1 > 0,
        upper_case: bits & 2 > 0,
        slash: bits & 4 > 0,
    };
    ESCAPED_ASCII.into_iter().flat_map(move |ascii| (0..8).map(move |bits| flags(ascii, bits)))
}

/// Splits JSON into strings, numbers and names, punctuation, and white space.
fn tokens(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        let is_space = |c: char| c.is_ascii_whitespace();
        let is_punctuation = |c: char| "{}[],:".contains(c);
        let first = rest.chars().next()?;
        let end = if first == '"' {
            let mut is_escaped = true;
            let is_end = |c: char| {
                let is_end = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                is_end
            };
            rest.find(is_end).map(|end| end + 1)
        } else if is_space(first) {
            rest.find(|c| !is_space(c))
        } else if is_punctuation(first) {
            Some(1)
        } else {
            rest.find(|c| is_space(c) || is_punctuation(c))
        };
        let (token, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        rest = after;
        Some(token)
    })
}

/// Returns the text compact, with the keys of every object in alphabetical order.
fn sort_keys(json: &str, depth: usize) -> Option<String> {
    let sort = |value: &RawValue| sort_keys(value.get(), depth.checked_sub(1)?);
    match json.trim_ascii_start().chars().next()? {
        '{' => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
            let members = members
                .into_iter()
                .map(|(key, value)| Some(format!("{}:{}", serde_json::to_string(&key).ok()?, sort(value)?)));
            Some(format!("{{{}}}", members.collect::<Option<Vec<_>>>()?.join(",")))
        }
        '[' => {
            let values: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            Some(format!("[{}]", values.into_iter().map(sort).collect::<Option<Vec<_>>>()?.join(",")))
        }
        _ => Some(json.trim_ascii().to_owned()),
    }
}

/// Prints a number with a fraction or an exponent as a program that parsed it into binary floating point,
/// without the suffix. `None` keeps it.
fn reprint_number(token: &str, suffix: Option<&str>) -> String {
    let is_number =
        token.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && token.contains(['.', 'e', 'E']);
    let number = token.parse().ok().filter(|number: &f64| is_number && number.is_finite());
    let printed = number.zip(suffix).map(|(number, suffix)| {
        let printed = serde_json::json!(number).to_string();
        printed.strip_suffix(suffix).map(str::to_owned).unwrap_or(printed)
    });
    printed.unwrap_or_else(|| token.to_owned())
}

/// Prints a string again. `None`, and a string with an unpaired surrogate, stays as it is.
fn escape(token: &str, escapes: Option<Escapes>) -> String {
    let text = token.starts_with('"').then(|| serde_json::from_str::<String>(token).ok()).flatten();
    let (Some(Escapes { ascii, non_ascii, upper_case, slash }), Some(text)) = (escapes, text) else {
        return token.to_owned();
    };
    let mut output = String::from('"');
    for character in text.chars() {
        let is_escaped = match character {
            '\u{8}' | '\u{c}' | '\n' | '\r' | '\t' => false,
            ..' ' => true,
            // Line ends of JavaScript.
            '\u{2028}' | '\u{2029}' => non_ascii || !ascii.is_empty(),
            '\u{7f}'.. => non_ascii,
            _ => ascii.contains(character),
        };
        match character {
            _ if is_escaped => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let digits = if upper_case { format!("{unit:04X}") } else { format!("{unit:04x}") };
                    output += &format!("\\u{digits}");
                }
            }
            '"' | '\\' => output.extend(['\\', character]),
            '/' if slash => output += "\\/",
            // The short forms, such as `\n`.
            ..' ' => output += serde_json::json!(character).to_string().trim_matches('"'),
            other => output.push(other),
        }
    }
    output + "\""
}

fn lay_out(tokens: &[String], layout: Option<Layout>) -> String {
    let Some(Layout(comma, colon, indent)) = layout else { return tokens.concat() };
    let mut output = String::new();
    let mut depth = 0_usize;
    let mut previous = "";
    for token in tokens.iter().map(|token| token.trim_ascii()).filter(|token| !token.is_empty()) {
        let (opened, closes) = (matches!(previous, "{" | "["), matches!(token, "}" | "]"));
        depth = depth.saturating_sub(usize::from(closes));
        // An empty object or array stays on one line.
        let breaks_line = if closes { !opened } else { opened || previous == "," };
        if let Some(indent) = indent.filter(|_| breaks_line) {
            output.push('\n');
            output.push_str(&indent.repeat(depth));
        }
        output.push_str(token);
        output.push_str(match token {
            "," => comma,
            ":" => colon,
            _ => "",
        });
        depth += usize::from(matches!(token, "{" | "["));
        previous = token;
        // The white space of thousands of levels would take seconds.
        if output.len() > MAX_PRINTED {
            break;
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"b":1.50,"a":[{"x":"a, b: \"c\" {} \\"},{},[]],"c":{}}"#;

    fn print(json: &str, layout: Layout) -> String {
        lay_out(&tokens(json).map(str::to_owned).collect::<Vec<_>>(), Some(layout))
    }

    #[test]
    fn layouts_convert_to_each_other() {
        for layout in LAYOUTS.into_iter().flatten() {
            let other = print(JSON, layout);
            assert_eq!(print(&other, Layout("", "", None)), JSON, "{other}");
        }
        assert_eq!(print(r#"{"a":[1,{}]}"#, Layout(" ", " ", None)), r#"{"a": [1, {}]}"#);
    }

    #[test]
    fn indented_equals_serde_json_pretty() {
        let value: serde_json::Value = serde_json::from_str(r#"{"a":[1,{"b":"c"}],"d":{"e":[]}}"#).unwrap();
        let indented = print(&value.to_string(), Layout("", " ", Some("  ")));
        assert_eq!(indented, serde_json::to_string_pretty(&value).unwrap());
    }

    /// Whatever is printed has the same value.
    #[test]
    fn every_form_has_same_value() {
        let json = "{ \"ü\\u00FC\": \"\\u002B<>&'=`\\/\\\"\\\\\\b\\u0001\\u2028😀\\ud83d\\ude00\u{7f}\", \"a\": [1.50, 1E2, {}] }";
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let forms: HashSet<_> = print_in_all_ways(json).map(|form| form.text).collect();
        assert!(forms.len() > 1_000 && forms.contains(json), "{}", forms.len());
        for form in forms {
            // A number without its fraction is another one for `serde_json`.
            let form = form.replace("100,", "100.0,");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&form).unwrap(), value, "{form}");
        }
    }

    #[test]
    fn invalid_json_has_no_other_form() {
        for json in ["{", "x", "}", "{}}", "", "\"", "\"\\", "\"\\u12\"", "\u{feff}{}"] {
            assert_eq!(print_in_all_ways(json).count(), 0, "{json}");
        }
    }

    #[test]
    fn escape_sequences_are_whole_characters() {
        let json = r#"["\\u0041\u00fc\/\n\"\ud83d\ude00\ud800\u0041"]"#;
        let found: Vec<_> = escape_sequences(json).into_iter().collect();
        assert_eq!(found, [r"\/", r"\u00fc", r"\ud800\u0041", r"\ud83d\ude00"]);
    }
}
