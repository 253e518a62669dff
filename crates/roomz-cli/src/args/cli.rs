use clap::{Parser, Subcommand};
use clap_complete::Shell;

use super::{ListenArgs, ReplayArgs, SendArgs, SignArgs, VerifyArgs};
use crate::inbox::args::InboxArgs;

const ROOMZ_HELP: &str = "\
Exit codes:
  0    success
  1    failure: a wrong signature, an unexpected response, an unreadable file
  2    invalid command line
  130  interrupted

The secret comes from --secret-file, or else from the environment variable ROOMZ_WEBHOOK_SECRET.

NO_COLOR=1 turns colours off. Output that is not a terminal has no colours.";

const COMPLETIONS_HELP: &str = "\
Example:
  roomz completions bash > ~/.local/share/bash-completion/completions/roomz";

/// Sign, verify, send, replay and receive ROOMZ webhooks, and manage an inbox
#[derive(Parser)]
#[command(name = "roomz", version, after_help = ROOMZ_HELP, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Send signed events to a receiver and report its responses
    Send(SendArgs),
    /// Print the signature of a body
    Sign(SignArgs),
    /// Verify signatures and explain why one does not match
    Verify(VerifyArgs),
    /// Receive deliveries, print them and save them to a file
    Listen(ListenArgs),
    /// Send saved deliveries again, byte for byte
    Replay(ReplayArgs),
    /// Show the inbox of a receiver, and retry or discard its dead letters
    Inbox(InboxArgs),
    /// Print a shell completion script
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell
        shell: Shell,
    },
}
