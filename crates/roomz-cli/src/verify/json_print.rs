//! Prints a JSON text as other programs would after parsing it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::iter::once;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Deserializer, from_str, json};

/// Keys of a deeper text are not sorted, because each level is parsed again.
const MAX_SORTED_DEPTH: usize = 500;

/// A longer text is not printed to its end, so it matches no signature.
const MAX_PRINTED: usize = 64 * 1024;

/// White space between tokens: after a comma, after a colon, and for each level, with one member per line.
type Layout = (&'static str, &'static str, Option<&'static str>);

/// The layouts of common serializers. `None` keeps the white space.
const LAYOUTS: [Option<Layout>; 6] = [
    None,
    Some(("", "", None)),
    Some((" ", " ", None)),
    Some(("", " ", Some("  "))),
    Some(("", " ", Some("    "))),
    Some(("", " ", Some("\t"))),
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

/// Returns the text as common serializers print it, and whether its keys are sorted; or nothing if it is not
/// JSON.
///
/// It works on the text, because a parser loses the order of keys and the format of numbers, and refuses
/// numbers, depths and surrogates that a serializer passes on.
pub(super) fn print_in_all_ways(json: &str) -> impl Iterator<Item = (String, bool)> {
    let is_json = from_str::<IgnoredAny>(json).is_ok();
    let orders = [(Some(json.to_owned()), false), (sort_keys(json, MAX_SORTED_DEPTH), true)];
    let (mut texts, mut forms) = (HashSet::new(), Vec::new());
    for (text, is_sorted) in orders.into_iter().filter_map(|(text, is_sorted)| Some((text?, is_sorted))) {
        for suffix in [None, Some(""), Some(".0")].into_iter().filter(|_| is_json) {
            let escapes = ESCAPED_ASCII.into_iter().flat_map(|ascii| {
                let flags = |bits: u8| (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0);
                (0..8).map(flags).map(move |(non_ascii, upper_case, slash)| {
                    Some(Escapes { ascii, non_ascii, upper_case, slash })
                })
            });
            for escapes in once(None).chain(escapes) {
                let tokens: Vec<_> = tokens(&text).map(|token| reprint(token, suffix, escapes)).collect();
                if texts.insert(tokens.concat()) {
                    forms.push((tokens, is_sorted));
                }
            }
        }
    }
    forms.into_iter().flat_map(|(tokens, is_sorted)| {
        LAYOUTS.map(|layout| {
            (layout.map_or_else(|| tokens.concat(), |layout| lay_out(&tokens, layout)), is_sorted)
        })
    })
}

/// Names the difference to the form that was signed: up to three characters that were escaped otherwise, or
/// the numbers.
pub(super) fn describe_change(here: &str, signed: &str) -> String {
    let numbers = |json| tokens(json).filter(|token| token.parse::<f64>().is_ok()).collect::<Vec<_>>();
    let other_numbers = numbers(here) != numbers(signed);
    let (here, signed) = (escape_sequences(here), escape_sequences(signed));
    let of_here = here.difference(&signed).map(|escape| ("here", escape));
    let of_signed = signed.difference(&here).map(|escape| ("when it was signed", escape));
    let escapes = of_here.chain(of_signed).take(3);
    let escapes: Vec<_> =
        escapes.map(|(time, (character, escape))| format!("{time} `{escape}` for `{character}`")).collect();
    match () {
        () if !escapes.is_empty() => format!(": {}", escapes.join(", ")),
        () if other_numbers => ": the numbers have another form".to_owned(),
        () => String::new(),
    }
}

/// The characters of a JSON text with another spelling, and their escapes.
fn escape_sequences(json: &str) -> BTreeSet<(String, String)> {
    let json = json.replace("\\\\", "");
    let sequences: Vec<_> = json.split('\\').skip(1).chain([""]).collect();
    let escapes = sequences.windows(2).filter_map(|pair| {
        let [first, second] = *pair else { return None };
        let unit =
            |text: &str| text.get(..5).filter(|_| text.starts_with('u')).map(|unit| format!("\\{unit}"));
        let slash = first.starts_with('/').then(|| "\\/".to_owned());
        // A pair of surrogates is one character.
        let pair = unit(first).zip(unit(second)).map(|(first, second)| first + &second);
        let decode = |escape: String| Some((from_str::<String>(&format!("\"{escape}\"")).ok()?, escape));
        slash.or(unit(first)).and_then(decode).or_else(|| pair.and_then(decode))
    });
    escapes.collect()
}

/// Splits JSON into strings, numbers and names, punctuation, and white space.
fn tokens(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        let length = match rest.chars().next()? {
            '{' | '}' | '[' | ']' | ',' | ':' | ' ' | '\n' | '\r' | '\t' => 1,
            _ => Deserializer::from_str(rest).into_iter::<&RawValue>().next()?.ok()?.get().len(),
        };
        let (token, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(token)
    })
}

/// Returns the text compact, with the keys of every object in alphabetical order.
fn sort_keys(json: &str, depth: usize) -> Option<String> {
    let sort = |value: &RawValue| sort_keys(value.get(), depth.checked_sub(1)?);
    if let Ok(members) = from_str::<BTreeMap<String, &RawValue>>(json) {
        let members =
            members.into_iter().map(|(key, value)| Some(format!("{}:{}", json!(key), sort(value)?)));
        Some(format!("{{{}}}", members.collect::<Option<Vec<_>>>()?.join(",")))
    } else if let Ok(values) = from_str::<Vec<&RawValue>>(json) {
        Some(format!("[{}]", values.into_iter().map(sort).collect::<Option<Vec<_>>>()?.join(",")))
    } else {
        Some(json.trim_ascii().to_owned())
    }
}

/// Prints a string with these escapes, and a number with a fraction or an exponent as a program that parsed
/// it into binary floating point, without the suffix. `None`, and a string with an unpaired surrogate, stays
/// as it is.
fn reprint(token: &str, suffix: Option<&str>, escapes: Option<Escapes>) -> String {
    let printed = if token.starts_with('"') {
        escapes.zip(from_str::<String>(token).ok()).map(|(escapes, text)| escapes.print(&text))
    } else {
        let number = token.parse().ok().filter(|number: &f64| number.is_finite());
        let number =
            number.filter(|_| token.contains(['.', 'e', 'E'])).map(|number| json!(number).to_string());
        number.zip(suffix).map(|(number, suffix)| number.strip_suffix(suffix).unwrap_or(&number).to_owned())
    };
    printed.unwrap_or_else(|| token.to_owned())
}

impl Escapes {
    fn print(self, text: &str) -> String {
        let mut output = String::from('"');
        for character in text.chars() {
            // The short form, such as `\n`, or the character itself.
            let short = json!(character).to_string();
            let short = short.get(1..short.len() - 1).unwrap_or_default();
            let is_escaped = short.starts_with("\\u")
                || self.ascii.contains(character)
                || self.non_ascii && character > '~'
                // Line ends of JavaScript.
                || !self.ascii.is_empty() && matches!(character, '\u{2028}' | '\u{2029}');
            if is_escaped {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let digits = format!("{unit:04x}");
                    output += "\\u";
                    output += &if self.upper_case { digits.to_uppercase() } else { digits };
                }
            } else {
                output += if self.slash && character == '/' { "\\/" } else { short };
            }
        }
        output + "\""
    }
}

fn lay_out(tokens: &[String], (comma, colon, indent): Layout) -> String {
    let (mut output, mut depth, mut previous) = (String::new(), 0_usize, "");
    for token in tokens.iter().map(|token| token.trim_ascii()).filter(|token| !token.is_empty()) {
        let (opened, closes) = (matches!(previous, "{" | "["), matches!(token, "}" | "]"));
        depth = (depth + usize::from(opened)).saturating_sub(usize::from(closes));
        // An empty object or array stays on one line.
        if let Some(indent) = indent.filter(|_| opened != closes || previous == ",") {
            output = output + "\n" + &indent.repeat(depth);
        }
        output += token;
        output += match token {
            "," => comma,
            ":" => colon,
            _ => "",
        };
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
        lay_out(&tokens(json).map(str::to_owned).collect::<Vec<_>>(), layout)
    }

    #[test]
    fn layouts_convert_to_each_other() {
        for layout in LAYOUTS.into_iter().flatten() {
            let other = print(JSON, layout);
            assert_eq!(print(&other, ("", "", None)), JSON, "{other}");
        }
        assert_eq!(print(r#"{"a":[1,{}]}"#, (" ", " ", None)), r#"{"a": [1, {}]}"#);
    }

    #[test]
    fn indented_equals_serde_json_pretty() {
        let value: serde_json::Value = from_str(r#"{"a":[1,{"b":"c"}],"d":{"e":[]}}"#).unwrap();
        let indented = print(&value.to_string(), ("", " ", Some("  ")));
        assert_eq!(indented, serde_json::to_string_pretty(&value).unwrap());
    }

    /// Whatever is printed has the same value.
    #[test]
    fn every_form_has_same_value() {
        let json = "{ \"ü\\u00FC\": \"\\u002B<>&'=`\\/\\\"\\\\\\b\\u0001\\u2028😀\\ud83d\\ude00\u{7f}\", \"a\": [1.50, 1E2, {}] }";
        let value: serde_json::Value = from_str(json).unwrap();
        let forms: HashSet<_> = print_in_all_ways(json).map(|(text, _)| text).collect();
        assert!(forms.len() > 1_000 && forms.contains(json), "{}", forms.len());
        for form in forms {
            // A number without its fraction is another one for `serde_json`.
            let form = form.replace("100,", "100.0,");
            assert_eq!(from_str::<serde_json::Value>(&form).unwrap(), value, "{form}");
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
        let found: Vec<_> = escape_sequences(json).into_iter().map(|(_, escape)| escape).collect();
        assert_eq!(found, [r"\/", r"\u0041", r"\u00fc", r"\ud83d\ude00"]);
    }
}
