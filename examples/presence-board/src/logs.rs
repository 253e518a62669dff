//! The log on standard error, and the text of errors.

use std::env::VarError;
use std::error::Error;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The format of the log.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts the log with the levels of the environment variable `RUST_LOG`, by default `info`.
pub(crate) fn init(format: LogFormat) -> Result<(), String> {
    const EXAMPLES: &str = "use for example RUST_LOG=info or RUST_LOG=info,roomz_webhook=debug";
    let levels = match std::env::var("RUST_LOG") {
        Ok(levels) if !levels.is_empty() => levels,
        Ok(_) | Err(VarError::NotPresent) => "info".to_owned(),
        Err(VarError::NotUnicode(_)) => return Err(format!("RUST_LOG is not UTF-8; {EXAMPLES}")),
    };
    let filter =
        EnvFilter::try_new(&levels).map_err(|_| format!("invalid RUST_LOG={levels:?}; {EXAMPLES}"))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => subscriber.init(),
        // One level of fields, which log collectors need no rule for. There is one span at most.
        LogFormat::Json => subscriber.json().flatten_event(true).with_span_list(false).init(),
    }
    Ok(())
}

/// Reports the error that ends the program: a line of the log in JSON, or a text for a terminal.
pub(crate) fn report_failure(format: LogFormat, error: &dyn Error) {
    let error = with_causes(error).replace('\n', " ");
    match format {
        LogFormat::Text => eprintln!("presence-board: {error}"),
        LogFormat::Json => tracing::error!(error, "failed"),
    }
}

/// The error's message, followed by each cause that the message does not contain yet.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text} ({cause_text})");
        }
        source = cause.source();
    }
    text
}
