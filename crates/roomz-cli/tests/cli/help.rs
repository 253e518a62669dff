use crate::support::{command, run, run_command};

const COMMANDS: [&str; 12] = [
    "send",
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

/// Each help has examples. On a terminal of 80 columns no example is wrapped, so that it can be copied.
#[test]
fn help_of_each_command_has_examples() {
    for name in COMMANDS {
        let help = run_command(command().args(name.split(' ')).arg("--help").env("COLUMNS", "80"), b"");
        help.assert_succeeds();
        let examples: Vec<_> = help.stdout.lines().skip_while(|line| !line.starts_with("Example")).collect();
        assert!(examples.iter().any(|line| line.starts_with(&format!("  roomz {name} "))), "{}", help.stdout);
        for line in examples.iter().skip(1).take_while(|line| !line.is_empty()) {
            assert!(line.starts_with("  ") && line.contains(&format!("roomz {name} ")), "wrapped: {line:?}");
        }
        assert!(help.stdout.lines().all(|line| line.chars().count() <= 80), "{}", help.stdout);
        assert!(!help.stdout.contains('\u{1b}'), "no colours without a terminal");
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
