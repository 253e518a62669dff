//! Selects the deliveries of a file that are sent.

use roomz_protocol::{Event, EventData, Timestamp};

use crate::args::ReplayArgs;
use crate::error::CliError;
use crate::saved_delivery::SavedDelivery;
use crate::saved_file::SavedFile;

/// The deliveries to send.
pub(super) struct Selection {
    pub(super) deliveries: Vec<SavedDelivery>,
    /// How many of those that match were left out, because their signature was wrong when they were received.
    pub(super) unverified: u64,
}

/// Reads the whole file, so that an invalid line is reported before anything is sent. Lines that `--line` does not
/// select may be invalid.
pub(super) fn select(args: &ReplayArgs) -> Result<Selection, CliError> {
    let file = SavedFile::read(&args.file)?;
    for range in &args.line {
        if !file.lines().any(|(number, _)| range.contains(&number)) {
            let last = file.lines().last().map_or(0, |(number, _)| number);
            let (first, end) = (range.start(), range.end());
            let lines = if first == end { format!("line {first}") } else { format!("lines {first}-{end}") };
            return Err(CliError::failed(format!(
                "no delivery in {lines} of {}: its last delivery is in line {last}; correct --line",
                file.name
            )));
        }
    }
    let is_selected =
        |number: usize| args.line.is_empty() || args.line.iter().any(|range| range.contains(&number));
    let mut selection = Selection { deliveries: Vec::new(), unverified: 0 };
    for (number, line) in file.lines().filter(|(number, _)| is_selected(*number)) {
        let delivery = file.parse(number, line)?;
        if !is_of_workspace(args, &delivery) || !is_recent(args, &file, number, &delivery)? {
            continue;
        }
        if delivery.verified == Some(false) && !args.include_unverified {
            selection.unverified += 1;
        } else {
            selection.deliveries.push(delivery);
        }
    }
    match (selection.deliveries.is_empty(), selection.unverified) {
        (false, _) => Ok(selection),
        (true, 0) => Err(CliError::failed(format!(
            "no delivery of {} matches; correct or remove --line, --workspace or --since",
            file.name
        ))),
        (true, unverified) => Err(CliError::failed(format!(
            "no selected delivery of {} had a correct signature when it was received ({unverified} skipped); to send them, \
             add --include-unverified",
            file.name
        ))),
    }
}

fn is_of_workspace(args: &ReplayArgs, delivery: &SavedDelivery) -> bool {
    if args.workspace.is_empty() {
        return true;
    }
    let Ok(event) = Event::parse(&delivery.body) else { return false };
    match &event.data {
        EventData::WorkspacePresenceChanged(change) => args.workspace.contains(&change.workspace_id),
        _ => false,
    }
}

fn is_recent(
    args: &ReplayArgs,
    file: &SavedFile,
    number: usize,
    delivery: &SavedDelivery,
) -> Result<bool, CliError> {
    let Some(since) = args.since else { return Ok(true) };
    let received = delivery.received.parse::<Timestamp>().map_err(|_| {
        CliError::failed(format!(
            "member \"received\" in line {number} of {} is not an RFC 3339 time; correct it, or replay without --since",
            file.name
        ))
    })?;
    Ok(received >= since)
}
