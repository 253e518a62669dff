use std::process::ExitCode;

/// Why the program ends with something else than success: one line for a person, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    /// The command line cannot be followed: exit code 2.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 2 }
    }

    /// It was tried and did not succeed: exit code 1.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 1 }
    }

    /// It was interrupted: exit code 130, as shells have it for SIGINT.
    pub(crate) fn interrupted(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 130 }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}
