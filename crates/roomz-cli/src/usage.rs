//! What clap says about a command line, on one line.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::out;

/// Prints help and version as clap does, and anything else as one line.
pub(crate) fn answer(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    out::complain(&one_line(error));
    ExitCode::from(2)
}

fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // clap answers this with the whole help.
        let commands: Vec<_> =
            Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        return format!("give a command: {}; see `roomz --help`", commands.join(", "));
    }
    let rendered = error.render().to_string();
    let mut text = String::new();
    let mut help = "roomz --help".to_owned();
    for line in rendered.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(usage) = line.strip_prefix("Usage: ") {
            let words =
                usage.split(' ').take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
            help = words.chain(["--help"]).collect::<Vec<_>>().join(" ");
            break;
        }
        if line.starts_with("For more information") {
            break;
        }
        let line = line.strip_prefix("error: ").unwrap_or(line);
        if !text.is_empty() {
            text.push_str(if text.ends_with(':') || line.starts_with('[') { " " } else { "; " });
        }
        text.push_str(line);
    }
    text + "; see `" + &help + "`"
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn said(arguments: &[&str]) -> String {
        one_line(&Cli::try_parse_from([&["roomz"], arguments].concat()).err().unwrap())
    }

    #[test]
    fn each_mistake_is_one_line_that_names_the_help() {
        assert_eq!(
            said(&["send"]),
            "the following required arguments were not provided: <URL>; see `roomz send --help`"
        );
        let unknown = said(&["send", "http://h", "--cuont", "3"]);
        assert!(unknown.starts_with("unexpected argument '--cuont' found; tip: "), "{unknown}");
        let shell = said(&["completions", "cmd"]);
        assert!(shell.contains("'cmd'") && shell.contains("[possible values: bash,"), "{shell}");
        for arguments in [&["sned"][..], &[], &["send", "http://h", "--count", "0"], &["sign", "a", "b"]] {
            let line = said(arguments);
            assert!(!line.contains('\n') && line.contains("--help`"), "{line}");
        }
    }
}
