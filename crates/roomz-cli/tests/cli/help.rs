use crate::support::{command, run, run_command};

const COMMANDS: [&str; 14] = [
    "new",
    "send",
    "doctor",
    "sign",
    "verify",
    "listen",
    "replay",
    "inbox",
    "inbox list",
    "inbox show",
    "inbox retry",
    "inbox discard",
    "inbox stats",
    "completions",
];

fn help(name: &str, columns: &str) -> String {
    let words = name.split(' ').filter(|word| !word.is_empty());
    let help = run_command(command().args(words).arg("--help").env("COLUMNS", columns), b"");
    help.assert_succeeds().stdout.clone()
}

fn examples(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| !line.starts_with("Example")).skip(1);
    lines.take_while(|line| !line.is_empty()).collect()
}

/// On a terminal of 80 columns no example is wrapped, so that it can be copied.
#[test]
fn help_of_each_command_has_examples() {
    for name in COMMANDS {
        let (narrow, wide) = (help(name, "80"), help(name, "110"));
        assert!(
            examples(&narrow).iter().any(|line| line.starts_with(&format!("  roomz {name} "))),
            "{narrow}"
        );
        assert_eq!(examples(&narrow), examples(&wide), "wrapped: {narrow}");
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        assert!(!narrow.contains('\u{1b}'), "no colours without a terminal");
    }
}

/// A command in backquotes is on one line.
#[test]
fn help_never_wraps_inside_a_command() {
    for name in COMMANDS.into_iter().chain([""]) {
        for columns in ["80", "100", "110"] {
            for line in help(name, columns).lines() {
                assert!(line.matches('`').count().is_multiple_of(2), "{name}, {columns} columns: {line:?}");
            }
        }
    }
}

#[test]
fn help_lists_exit_codes_and_secret_source() {
    let help = run(&["--help"]);
    help.assert_succeeds();
    for part in ["Exit codes:", "130", "ROOMZ_WEBHOOK_SECRET", "NO_COLOR"] {
        assert!(help.stdout.contains(part), "{part}: {}", help.stdout);
    }
    assert!(run(&["--version"]).assert_succeeds().stdout.starts_with("roomz 0."));
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = &run(&["completions", shell]).assert_succeeds().stdout.clone();
        for word in ["duplicates", "secret-file", "replay", "discard"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}
