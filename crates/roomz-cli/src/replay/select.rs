//! Selects the deliveries of a file that are sent.

use anyhow::{Result, ensure};

use crate::args::ReplayArgs;
use crate::saved_delivery::SavedDelivery;
use crate::saved_file::SavedFile;

/// The deliveries to send.
pub(super) struct Selection {
    pub(super) deliveries: Vec<SavedDelivery>,
    /// How many of those that match were left out, because their signature was wrong when they were received.
    pub(super) unverified: u64,
}

/// Reads the whole file, so that an invalid line is reported before anything is sent. Lines that `--line`
/// does not select may be invalid.
pub(super) fn select(args: &ReplayArgs) -> Result<Selection> {
    let file = SavedFile::read(&args.file)?;
    for range in &args.line {
        let last = file.lines().last().map_or(0, |(number, _)| number);
        ensure!(
            file.lines().any(|(number, _)| range.contains(&number)),
            "no delivery in lines {}-{} of {}: its last delivery is in line {last}; correct --line",
            range.start(),
            range.end(),
            file.name
        );
    }
    let mut selection = Selection { deliveries: Vec::new(), unverified: 0 };
    for (number, line) in file.lines() {
        if !args.line.is_empty() && !args.line.iter().any(|range| range.contains(&number)) {
            continue;
        }
        let delivery = file.parse(number, line)?;
        if delivery.verified == Some(false) && !args.include_unverified {
            selection.unverified += 1;
        } else {
            selection.deliveries.push(delivery);
        }
    }
    ensure!(
        !selection.deliveries.is_empty(),
        "no selected delivery of {} had a correct signature when it was received ({} skipped); to send them, add \
         --include-unverified",
        file.name,
        selection.unverified
    );
    Ok(selection)
}
