use std::error::Error;

/// Returns the message of an error and those of its sources, separated by `: `. For the crates of this
/// project.
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

/// Implements `Debug` of errors with [`error_chain`], because `main` prints the `Debug` of the error that it
/// returns. For the crates of this project.
#[doc(hidden)]
#[macro_export]
macro_rules! debug_error_chain {
    ($($error:ty),*) => {$(
        impl ::std::fmt::Debug for $error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&$crate::error_chain(self))
            }
        }
    )*};
}
