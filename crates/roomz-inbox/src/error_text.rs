use std::error::Error;

use roomz_webhook::roomz_protocol::error_chain;
use tokio::task::JoinError;

/// The longest text of an error. With what the worker adds to it, it has at most 1 000 characters.
const MAX_CHARS: usize = 800;

/// Returns the text of an error and its sources, separated by `: `. Control characters are escaped, and the
/// text is bounded.
pub(crate) fn error_text(error: &(dyn Error + 'static)) -> String {
    bounded(&error_chain(error))
}

/// Returns the message of a panic.
pub(crate) fn panic_text(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "the handler was cancelled".to_owned() };
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the handler panicked: {}", bounded(text.unwrap_or("the message is not a text")))
}

/// Escapes everything that could change a terminal or a log.
pub(crate) fn bounded(text: &str) -> String {
    let mut bounded = String::new();
    let mut count = 0;
    for character in text.chars() {
        if count >= MAX_CHARS {
            bounded.push_str("...");
            break;
        }
        // Control characters, and those that change the direction or hide text.
        if character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
        {
            count += character.escape_unicode().count();
            bounded.extend(character.escape_unicode());
        } else {
            count += 1;
            bounded.push(character);
        }
    }
    bounded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_bounded_and_escaped() {
        let long = std::io::Error::other(format!("\u{1b}[31m\0\u{202e}{}", "x".repeat(10_000)));
        let text = error_text(&long);
        assert!(text.starts_with("\\u{1b}[31m\\u{0}\\u{202e}xxx"), "{text}");
        assert!(text.chars().count() < MAX_CHARS + 20 && text.ends_with("..."), "{text}");
    }
}
