//! `roomz`: signs, verifies, sends, replays and receives [ROOMZ](https://roomz.io) webhooks, for development
//! and load tests; checks a receiver; shows its inbox, and retries or discards its dead letters; writes a new
//! service.
//!
//! The README and `roomz COMMAND --help` describe the commands and their output.
//!
//! Each command is a module of the same name. `send` and `replay` share [`deliver`]: it sends deliveries over
//! several connections, collects statistics and prints the report. They, `doctor` and `listen --forward`
//! reach the receiver with a [`client::Client`].

mod args;
mod client;
mod deliver;
mod doctor;
mod error;
mod escape;
mod event_text;
mod inbox;
mod input;
mod listen;
mod new;
mod output;
mod replay;
mod saved;
mod saved_delivery;
mod secret;
mod send;
mod sign;
mod signature;
mod values;
mod verify;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = async { run(Cli::try_parse()?).await }.await else { return ExitCode::SUCCESS };
    match error.downcast::<clap::Error>() {
        Ok(error) => report_command_line(&error),
        Err(error) => {
            output::print_error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::New(args) => new::run(&args),
        Command::Send(args) => send::run(args).await,
        Command::Doctor(args) => doctor::run(&args).await,
        Command::Sign(args) => sign::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Listen(args) => listen::run(args).await,
        Command::Replay(args) => replay::run(args).await,
        Command::Inbox(args) => inbox::run(args).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "roomz", &mut script);
            output::print(&script)
        }
    }
}

/// Prints help and version as clap does, and clap's error on one line.
fn report_command_line(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
    } else {
        let text = error.render().to_string();
        let text = text.trim_start_matches("error: ").trim().replace("\n\n", "; ");
        output::print_error(&redact_user(&text));
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// Removes user and password from a URL in the text, such as a database URL in the place of an id.
fn redact_user(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((before, after)), Some((_, rest))) if after.contains('@') => format!("{before}://…@{rest}"),
        _ => text.to_owned(),
    }
}
