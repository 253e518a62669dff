use std::error::Error;

/// Returns the message of an error and those of its sources, separated by `: `. For the crates of this
/// project.
///
/// It is also the `Debug` of their errors, because `main` prints the `Debug` of the error that it returns.
#[doc(hidden)]
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let (mut chain, mut source) = (error.to_string(), error.source());
    while let Some(error) = source {
        let message = error.to_string();
        // Many errors of other crates repeat the message of their source.
        if !chain.ends_with(&message) {
            chain = chain + ": " + &message;
        }
        source = error.source();
    }
    chain
}
