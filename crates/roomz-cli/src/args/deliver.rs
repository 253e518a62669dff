use clap::Args;

use super::ConnectArgs;
use super::values::{parse_number, parse_rate};

/// Options of `send` and `replay`.
#[derive(Args)]
pub(crate) struct DeliverArgs {
    /// Concurrent connections; each sends its next delivery after the response to the previous one
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = 1, value_parser = parse_number::<u32, 1, 60_000>)]
    pub(crate) connections: u32,
    /// Maximum deliveries per second; latencies count from the scheduled times [default: unlimited]
    #[arg(long, value_name = "PER_SECOND", allow_negative_numbers = true, value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,
    /// Retry an unexpected response or a connection error up to TIMES times [default without TIMES: 4]: after
    /// 0.5 s, then twice as long each time, minus a random part of up to half; Retry-After replaces the
    /// delay, up to 60 s
    #[arg(long, value_name = "TIMES", num_args = 0..=1, require_equals = true, default_missing_value = "4", value_parser = parse_number::<u32, 0, 1_000_000>)]
    pub(crate) retry: Option<u32>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
