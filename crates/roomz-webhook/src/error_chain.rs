use std::error::Error;
use std::fmt;

/// Displays an error and its sources, separated by `: `.
pub(crate) struct ErrorChain<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printed = self.0.to_string();
        f.write_str(&printed)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            // Many errors of other crates repeat the text of their source.
            if !printed.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            (printed, source) = (text, error.source());
        }
        Ok(())
    }
}
