//! `roomz`: signs, verifies, sends, replays and receives [ROOMZ](https://roomz.io) webhooks, for development and load
//! tests; shows the inbox of a receiver, and retries or discards its dead letters.
//!
//! The README and `roomz COMMAND --help` describe the commands and their output.
//!
//! Each command is a module of the same name. `send` and `replay` share [`deliver`]: it takes deliveries from a
//! [`deliver::Source`], sends them over several connections, and collects [`deliver::stats::Stats`] for the
//! [`deliver::report::Report`]. They and `listen --forward` reach the receiver with a [`client::Client`].

mod args;
mod clap_error;
mod client;
mod deliver;
mod error;
mod escape;
mod event_text;
mod inbox;
mod input;
mod listen;
mod output;
mod replay;
mod saved_delivery;
mod saved_file;
mod secret;
mod send;
mod sign;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, Command};
use crate::error::CliError;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return clap_error::report(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::print_error(error.message());
            error.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Send(args) => runtime()?.block_on(send::run(&args)),
        Command::Sign(args) => sign::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Listen(args) => runtime()?.block_on(listen::run(&args)),
        Command::Replay(args) => runtime()?.block_on(replay::run(&args)),
        Command::Inbox(args) => runtime()?.block_on(inbox::run(&args)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "roomz", &mut script);
            output::print(&script)
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        CliError::failed(format!("cannot start the async runtime: {error}; check the limits of this user"))
    })
}
