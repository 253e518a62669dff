//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

const EXIT_CODES: &str = "\
Exit codes:
  0    everything was as it should be
  1    something was not: a signature does not match, a delivery was not answered as it should, a file is unreadable
  2    the command line cannot be followed
  130  interrupted

The secret is read from --secret-file, else from the environment variable ROOMZ_WEBHOOK_SECRET.
NO_COLOR=1 switches colours off; without a terminal there are none.";

/// Sign, verify, send, replay and receive ROOMZ webhooks
#[derive(Parser)]
#[command(name = "roomz", version, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print the signature of a body
    Sign(SignArgs),
    /// Say whether a signature is that of a body, and why not
    Verify(VerifyArgs),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  roomz completions bash > ~/.local/share/bash-completion/completions/roomz"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

// No `Debug` on what holds a secret.
#[derive(Args)]
pub(crate) struct SecretArgs {
    /// File that holds the webhook secret and nothing else, not even a newline at the end
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) secret_file: Option<PathBuf>,
    /// The webhook secret itself; visible in the process list, so better --secret-file or ROOMZ_WEBHOOK_SECRET
    #[arg(long, value_name = "VALUE", conflicts_with = "secret_file", allow_hyphen_values = true)]
    pub(crate) secret: Option<OsString>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  roomz sign --secret-file secret body.json
  curl -H \"Roomz-Signature: $(roomz sign body.json)\" --data-binary @body.json http://127.0.0.1:3000/webhooks/roomz")]
pub(crate) struct SignArgs {
    /// File that holds the body [default: standard input]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  roomz verify --secret-file secret --signature \"$signature\" body.json
  roomz verify --signature \"$signature\" < body.json && echo right

Ends with 0 when the signature is that of the body, and with 1 and a reason when not. The right one is never printed.")]
pub(crate) struct VerifyArgs {
    /// File that holds the body [default: standard input]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// The value of the header Roomz-Signature
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) signature: OsString,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
