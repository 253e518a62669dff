//! Verifies each delivery in a file that `listen --save` wrote.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use roomz_protocol::{Event, Secret};

use super::diagnose;
use crate::escape::escape;
use crate::output::{self, ERROR_STYLE, SUCCESS_STYLE};
use crate::saved_delivery::SavedDelivery;
use crate::saved_file::SavedFile;
use crate::signature::only_signature;

pub(super) fn verify(file: &Path, secret: &Secret, secret_bytes: &[u8]) -> Result<()> {
    let file = SavedFile::read(file)?;
    let lines: Vec<_> = file.lines().map(|(number, line)| (number, SavedDelivery::from_line(line))).collect();
    if let Some((number, Err(problem))) = lines.first()
        && lines.iter().all(|(_, delivery)| delivery.is_err())
    {
        bail!(
            "{} contains no saved deliveries (line {number}: {problem}); to verify a body, add --signature with the value \
             of its header Roomz-Signature",
            file.name
        );
    }
    let mut failed = 0;
    for (number, delivery) in &lines {
        let (what, result) = match delivery {
            Ok(delivery) => (describe(delivery), verify_delivery(delivery, secret, secret_bytes)),
            Err(problem) => ("not a saved delivery".to_owned(), Err(problem.clone())),
        };
        let result = match result {
            Ok(()) => format!("{SUCCESS_STYLE}verified{SUCCESS_STYLE:#}"),
            Err(problem) => {
                failed += 1;
                format!("{ERROR_STYLE}NOT VERIFIED{ERROR_STYLE:#}: {}", escape(&problem))
            }
        };
        output::print_line(&format!("line {number}, {what}: {result}"))?;
    }
    let all = lines.len();
    output::print_line(&format!("{} of {all} deliveries verified", all - failed))?;
    ensure!(
        failed == 0,
        "{failed} of {all} deliveries could not be verified; standard output says why, line by line"
    );
    Ok(())
}

fn describe(delivery: &SavedDelivery) -> String {
    match Event::parse(&delivery.body) {
        Ok(event) => format!("event {}", event.id),
        Err(_) => "not an event".to_owned(),
    }
}

fn verify_delivery(delivery: &SavedDelivery, secret: &Secret, secret_bytes: &[u8]) -> Result<(), String> {
    let signature = only_signature(&delivery.headers).map_err(|rejection| {
        format!("{rejection}: a proxy changed the headers, or ROOMZ is not the sender")
    })?;
    diagnose::verify(secret, secret_bytes, &delivery.body, signature)
}
