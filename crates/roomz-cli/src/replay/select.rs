//! Selects the deliveries of a file that are sent.

use crate::args::ReplayArgs;
use crate::error::CliError;
use crate::saved_delivery::SavedDelivery;
use crate::saved_file::SavedFile;

/// The deliveries to send.
pub(super) struct Selection {
    pub(super) deliveries: Vec<SavedDelivery>,
    /// How many were left out, because their signature was wrong when they were received.
    pub(super) unverified: u64,
}

/// Reads the whole file, so that an invalid line is reported before anything is sent.
pub(super) fn select(args: &ReplayArgs) -> Result<Selection, CliError> {
    let file = SavedFile::read(&args.file)?;
    let mut selection = Selection { deliveries: Vec::new(), unverified: 0 };
    for (number, line) in file.lines() {
        let delivery = file.parse(number, line)?;
        if delivery.verified == Some(false) && !args.include_unverified {
            selection.unverified += 1;
        } else {
            selection.deliveries.push(delivery);
        }
    }
    if selection.deliveries.is_empty() {
        return Err(CliError::failed(format!(
            "no delivery of {} had a correct signature when it was received; to send them, add --include-unverified",
            file.name
        )));
    }
    Ok(selection)
}
