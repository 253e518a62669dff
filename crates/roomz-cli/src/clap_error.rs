//! Prints clap's errors on one line, in plain words: clap's own text quotes parsers, such as `invalid digit found in
//! string`.

use std::error::Error as _;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::args::Cli;
use crate::output;

/// Prints help and version as clap does, and every error as one line. Returns the exit code.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<_> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    output::print_error(&one_line(error, &arguments));
    ExitCode::from(2)
}

/// The message and the command that prints the help. `arguments` are those after the program's name.
fn one_line(error: &clap::Error, arguments: &[String]) -> String {
    let mut command = Cli::command();
    let mut path = "roomz".to_owned();
    for argument in arguments {
        let Some(subcommand) = command.find_subcommand(argument).cloned() else { break };
        path = format!("{path} {argument}");
        command = subcommand;
    }
    format!("{}; see `{path} --help`", redact_users(&message(error, &command)))
}

fn message(error: &clap::Error, command: &clap::Command) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    // An option with its value, such as `--count <NUMBER>`, or `<URL>`.
    let argument = context(ContextKind::InvalidArg);
    let name = argument.split([' ', '[', '=']).next().unwrap_or_default();
    let value = context(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::ValueValidation => {
            let advice = error.source().map(ToString::to_string).unwrap_or_default();
            format!("invalid value {value:?} for {name}: {advice}")
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("{name} needs a value: {argument}"),
        ErrorKind::InvalidValue => {
            format!("invalid value {value:?} for {name}: use one of {}", context(ContextKind::ValidValue))
        }
        ErrorKind::UnknownArgument => {
            let suggestion = context(ContextKind::SuggestedArg);
            match (argument.starts_with('-'), suggestion.split(' ').next()) {
                (true, Some(suggestion)) if !suggestion.is_empty() => {
                    format!("unknown option {argument}: did you mean {suggestion}?")
                }
                (true, _) => format!("unknown option {argument}"),
                (false, _) => format!(
                    "unexpected argument {argument:?}: remove it, or write the value of an option as --option=value"
                ),
            }
        }
        ErrorKind::InvalidSubcommand => {
            let word = context(ContextKind::InvalidSubcommand);
            match context(ContextKind::SuggestedSubcommand) {
                suggestion if suggestion.is_empty() => {
                    format!("unknown command {word:?}: use one of {}", names(command))
                }
                suggestion => format!("unknown command {word:?}: did you mean {suggestion}?"),
            }
        }
        ErrorKind::MissingRequiredArgument => format!("missing {argument}"),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            format!("missing command: use one of {}", names(command))
        }
        ErrorKind::ArgumentConflict => {
            let prior = context(ContextKind::PriorArg);
            if prior == argument {
                format!("{name} is given more than once: use it once")
            } else {
                format!("{argument} cannot be used with {prior}: remove one of them")
            }
        }
        ErrorKind::TooManyValues => format!("{name} takes no value: remove {:?}", format!("={value}")),
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8: correct it".to_owned(),
        _ => {
            let rendered = error.render().to_string();
            let text = rendered.split("\n\n").next().unwrap_or_default();
            text.strip_prefix("error: ").unwrap_or(text).to_owned()
        }
    }
}

/// The names of the subcommands.
fn names(command: &clap::Command) -> String {
    command.get_subcommands().map(clap::Command::get_name).collect::<Vec<_>>().join(", ")
}

/// Removes user and password from a URL in the text.
fn redact_users(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((before, after)), Some((_, rest))) if after.contains('@') => format!("{before}://…@{rest}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    const URL: &str = "http://h";

    #[test]
    fn error_has_no_password() {
        for arguments in [
            ["inbox", "show", "postgres://user:canary@host/floors"],
            ["inbox", "list", "postgres://user:can@ary@host/floors"],
            ["inbox", "postgres://user:canary@host/floors", "list"],
        ] {
            let error = message(&arguments);
            assert!(!error.contains("can") && error.contains("://…@host"), "{error}");
        }
    }

    fn message(arguments: &[&str]) -> String {
        let error = Cli::try_parse_from([&["roomz"], arguments].concat()).err().unwrap();
        one_line(&error, &arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn message_says_what_to_change() {
        for (arguments, expected) in [
            (&["send"][..], "missing <URL>; see `roomz send --help`"),
            (&["replay"], "missing <FILE>, <URL>; see `roomz replay --help`"),
            (
                &["send", URL, "--cuont", "3"],
                "unknown option --cuont: did you mean --count?; see `roomz send --help`",
            ),
            (&["send", URL, "-x"], "unknown option -x; see `roomz send --help`"),
            (
                &["send", URL, "--count", "x"],
                "invalid value \"x\" for --count: use a whole number from 1 to 1000000000000; see `roomz send --help`",
            ),
            (&["send", URL, "--count"], "--count needs a value: --count <NUMBER>; see `roomz send --help`"),
            (
                &["send", URL, "--count", "1", "--count", "2"],
                "--count is given more than once: use it once; see `roomz send --help`",
            ),
            (
                &["sign", "--secret", "a", "--secret-file", "b"],
                "--secret <VALUE> cannot be used with --secret-file <FILE>: remove one of them; see `roomz sign --help`",
            ),
            (&["sign", "--json=1"], "--json takes no value: remove \"=1\"; see `roomz sign --help`"),
            (&["snd"], "unknown command \"snd\": did you mean send?; see `roomz --help`"),
            (
                &["inbox", "zzz"],
                "unknown command \"zzz\": use one of list, show, retry, discard, stats; see `roomz inbox --help`",
            ),
            (
                &["inbox"],
                "missing command: use one of list, show, retry, discard, stats; see `roomz inbox --help`",
            ),
            (
                &["completions", "cmd"],
                "invalid value \"cmd\" for <SHELL>: use one of bash, elvish, fish, powershell, zsh; see `roomz completions \
                 --help`",
            ),
        ] {
            assert_eq!(message(arguments), expected);
        }
        let extra = message(&["sign", "a", "b"]);
        assert!(extra.starts_with("unexpected argument \"b\": remove it"), "{extra}");
    }
}
