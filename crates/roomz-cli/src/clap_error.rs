//! Prints clap's errors on one line.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::output;

/// Prints help and version as clap does, and every error as one line. Returns the exit code.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    output::print_error(&one_line(error));
    ExitCode::from(2)
}

fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return missing_command(&error.render().to_string());
    }
    let rendered = redact_users(&error.render().to_string());
    let mut message = String::new();
    let mut help = "roomz --help".to_owned();
    for line in rendered.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(usage) = line.strip_prefix("Usage: ") {
            help = command_words(usage).chain(["--help"]).collect::<Vec<_>>().join(" ");
            break;
        }
        if line.starts_with("For more information") {
            break;
        }
        let line = line.strip_prefix("error: ").unwrap_or(line);
        if !message.is_empty() {
            message.push_str(if message.ends_with(':') || line.starts_with('[') { " " } else { "; " });
        }
        message.push_str(line);
    }
    message + "; see `" + &help + "`"
}

/// The words of a usage line that name the command: `roomz inbox` of `roomz inbox <COMMAND>`.
fn command_words(usage: &str) -> impl Iterator<Item = &str> {
    usage.split(' ').take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// The message for a missing subcommand. clap's message for this error is the whole help text.
fn missing_command(help: &str) -> String {
    let usage = help.lines().find_map(|line| line.trim().strip_prefix("Usage: ")).unwrap_or_default();
    let words: Vec<_> = command_words(usage).collect();
    let mut command = Cli::command();
    for word in words.iter().skip(1) {
        command = command.find_subcommand(word).cloned().unwrap_or(command);
    }
    let commands: Vec<_> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    format!("missing command: use one of {}; see `{} --help`", commands.join(", "), words.join(" "))
}

/// Removes user and password from a URL that clap quotes.
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
        one_line(&Cli::try_parse_from([&["roomz"], arguments].concat()).err().unwrap())
    }

    #[test]
    fn error_is_one_line_with_help_command() {
        assert_eq!(
            message(&["send"]),
            "the following required arguments were not provided: <URL>; see `roomz send --help`"
        );
        let unknown = message(&["send", "http://h", "--cuont", "3"]);
        assert!(unknown.starts_with("unexpected argument '--cuont' found; tip: "), "{unknown}");
        let shell = message(&["completions", "cmd"]);
        assert!(shell.contains("'cmd'") && shell.contains("[possible values: bash,"), "{shell}");
        let nested = message(&["inbox"]);
        assert_eq!(
            nested,
            "missing command: use one of list, show, retry, discard, stats; see `roomz inbox --help`"
        );
        for arguments in [&["sned"][..], &[], &["send", "http://h", "--count", "0"], &["sign", "a", "b"]] {
            let line = message(arguments);
            assert!(!line.contains('\n') && line.contains("--help`"), "{line}");
        }
    }
}
