//! `roomz`: signs, verifies, sends, replays and receives [ROOMZ](https://roomz.io) webhooks, for development and load.
//!
//! The commands and what they print are in the README, and in `roomz COMMAND --help`.
//!
//! A command is one file of its name. `send` and `replay` share [`deliver`] (connections, pace, retries), which takes
//! deliveries from a [`deliver::Source`], hands them to [`client`], and counts the answers in a [`tally::Tally`] that
//! [`report`] shows.

mod answer;
mod args;
mod client;
mod deliver;
mod diagnose;
mod failure;
mod input;
mod json_forms;
mod listen;
mod out;
mod plan;
mod progress;
mod replay;
mod report;
mod retry;
mod save_file;
mod saved;
mod secret;
mod send;
mod shown;
mod sign;
mod tally;
mod target;
mod text;
mod usage;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::answer(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out::complain(failure.text());
            failure.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Send(args) => runtime()?.block_on(send::run(&args)),
        Command::Sign(args) => sign::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Listen(args) => runtime()?.block_on(listen::run(&args)),
        Command::Replay(args) => runtime()?.block_on(replay::run(&args)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "roomz", &mut script);
            out::write(&script)
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}; see the limits of this user")))
}
