use crate::support::roomz;

#[test]
fn every_command_explains_itself_with_examples() {
    for command in ["send", "sign", "verify", "listen", "replay", "completions"] {
        let help = roomz(&[command, "--help"]);
        help.succeeds();
        assert!(
            help.out.contains("Example") && help.out.contains(&format!("  roomz {command} ")),
            "{}",
            help.out
        );
        assert!(!help.out.contains('\u{1b}'), "no colours without a terminal");
    }
}

#[test]
fn the_help_tells_the_exit_codes_and_where_the_secret_comes_from() {
    let help = roomz(&["--help"]);
    help.succeeds();
    for part in ["Exit codes:", "130", "ROOMZ_WEBHOOK_SECRET", "NO_COLOR"] {
        assert!(help.out.contains(part), "{part}: {}", help.out);
    }
    assert!(roomz(&["--version"]).succeeds().out.starts_with("roomz 0."));
}

#[test]
fn there_are_completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = &roomz(&["completions", shell]).succeeds().out.clone();
        for word in ["duplicates", "secret-file", "replay"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}
