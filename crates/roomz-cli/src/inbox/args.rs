use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueHint};
use roomz_inbox::{EventId, InboxState};

use super::{DEFAULT_NAMESPACE, state_name};
use crate::values::parse_number;

const INBOX_HELP: &str = "\
Examples:
  roomz inbox list --database sqlite://inbox.db
  roomz inbox show e6ae112e-2af3-4d72-894b-03435d7afde4
  roomz inbox retry --all
  roomz inbox stats --json

Use the environment variable for a URL with a password, because options are visible in the process list. The commands \
create neither a file nor a table.";

const LIST_HELP: &str = "\
Examples:
  roomz inbox list --state waiting --limit 10 --namespace tenant-a
  roomz inbox list --json --limit 1000 > dead.jsonl

The order is that of the column due: the next attempt of a waiting event, the end of the lease of a running one, the \
time after which the others are deleted.";

const SHOW_HELP: &str = "\
Example:
  roomz inbox show e6ae112e-2af3-4d72-894b-03435d7afde4";

const RETRY_HELP: &str = "\
Examples:
  roomz inbox retry e6ae112e-2af3-4d72-894b-03435d7afde4
  roomz inbox retry --all

A worker takes the events within a second, with all their attempts. Its maximum age does not apply to them any more.";

const DISCARD_HELP: &str = "\
Example:
  roomz inbox discard e6ae112e-2af3-4d72-894b-03435d7afde4

A discarded event is not handled any more. Its id is still known as a duplicate for 7 days.";

const STATS_HELP: &str = "\
Example:
  roomz inbox stats --database sqlite://inbox.db";

#[derive(Args)]
#[command(after_help = INBOX_HELP)]
pub(crate) struct InboxArgs {
    /// Database of the inbox: sqlite://FILE or postgres://USER@HOST/DATABASE [default: the environment
    /// variable DATABASE_URL]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, global = true)]
    pub(super) database: Option<String>,
    #[command(subcommand)]
    pub(super) command: InboxCommand,
}

#[derive(Subcommand)]
pub(super) enum InboxCommand {
    /// List dead letters, or the events in another state
    List(ListArgs),
    /// Show an event with its times, its last error and its body
    Show(ShowArgs),
    /// Make dead letters available to the workers again
    #[command(after_help = RETRY_HELP)]
    Retry(ChangeArgs),
    /// Discard dead letters
    #[command(after_help = DISCARD_HELP)]
    Discard(ChangeArgs),
    /// Count the events that are not done, in all namespaces and in each
    #[command(after_help = STATS_HELP)]
    Stats {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
#[command(after_help = LIST_HELP)]
pub(super) struct ListArgs {
    /// Only events of this namespace: that of the layer or of the tenant
    #[arg(long, value_name = "TEXT")]
    pub(super) namespace: Option<String>,
    /// State of the events; waiting: for the next attempt, done: handled or discarded, dead: dead letters
    #[arg(long, default_value = "dead", value_parser = state_parser())]
    pub(super) state: InboxState,
    /// Maximum number of events
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = 100, value_parser = parse_number::<u32, 1, 100_000>)]
    pub(super) limit: u32,
    /// Print one JSON object per event
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
#[command(after_help = SHOW_HELP)]
pub(super) struct ShowArgs {
    /// Id of the event
    pub(super) id: EventId,
    /// Namespace of the event: that of the layer or of the tenant
    #[arg(long, value_name = "TEXT", default_value = DEFAULT_NAMESPACE)]
    pub(super) namespace: String,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct ChangeArgs {
    /// Ids of dead letters in the namespace
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub(super) ids: Vec<EventId>,
    /// All dead letters
    #[arg(long, conflicts_with = "ids")]
    pub(super) all: bool,
    /// Namespace of the dead letters: that of the layer or of the tenant [default: roomz for ids, every one
    /// for --all]
    #[arg(long, value_name = "TEXT")]
    pub(super) namespace: Option<String>,
}

fn state_parser() -> impl TypedValueParser<Value = InboxState> {
    const STATES: [InboxState; 4] =
        [InboxState::Waiting, InboxState::Running, InboxState::Done, InboxState::Dead];
    let find = |name: String| STATES.into_iter().find(|state| state_name(*state) == name);
    PossibleValuesParser::new(STATES.map(state_name)).try_map(move |name| find(name).ok_or("unknown state"))
}
