//! Verifies each delivery in a file that `listen --save` wrote.

use std::path::Path;

use http::HeaderMap;
use roomz_protocol::{Event, EventId, SIGNATURE_HEADER, Secret};
use serde_json::json;
use zeroize::Zeroizing;

use super::diagnose::{self, Diagnosis};
use crate::args::VerifyArgs;
use crate::error::CliError;
use crate::escape::escape;
use crate::output::{self, ERROR_STYLE, SUCCESS_STYLE};
use crate::saved_delivery::SavedDelivery;
use crate::saved_file::SavedFile;
use crate::secret;

pub(super) fn run(args: &VerifyArgs, file: &Path) -> Result<(), CliError> {
    let secret = secret::load(&args.secret)?;
    let secret_bytes = secret::read_bytes(&args.secret);
    let file = SavedFile::read(file)?;
    let lines: Vec<_> =
        file.lines().map(|(number, line)| Line::verify(number, line, &secret, &secret_bytes)).collect();
    if let Some(first) = lines.first()
        && lines.iter().all(|line| line.is_invalid)
    {
        return Err(CliError::failed(format!(
            "{} contains no saved deliveries (line {}: {}); to verify a body, add --signature with the value of its \
             header Roomz-Signature",
            file.name,
            first.number,
            first.message()
        )));
    }
    for line in &lines {
        output::print_line(&if args.json { line.json() } else { line.text() })?;
    }
    let (all, failed) = (lines.len(), lines.iter().filter(|line| line.result.is_err()).count());
    if !args.json {
        output::print_line(&format!("{} of {all} deliveries verified", all - failed))?;
    }
    if failed == 0 {
        return Ok(());
    }
    Err(CliError::failed(format!(
        "{failed} of {all} deliveries could not be verified; standard output says why, line by line"
    )))
}

/// A line of the file and the result of verifying it.
struct Line {
    number: usize,
    /// `None` when the body is not an event.
    id: Option<EventId>,
    /// The line is not a saved delivery.
    is_invalid: bool,
    result: Result<(), Diagnosis>,
}

impl Line {
    fn verify(number: usize, line: &[u8], secret: &Secret, secret_bytes: &Zeroizing<Vec<u8>>) -> Self {
        let delivery = match SavedDelivery::from_line(line) {
            Ok(delivery) => delivery,
            Err(problem) => {
                let result = Err(Diagnosis::new("invalid-line", problem));
                return Self { number, id: None, is_invalid: true, result };
            }
        };
        let id = Event::parse(&delivery.body).ok().map(|event| event.id);
        let result = signature(&delivery.headers).and_then(|signature| {
            diagnose::verify(secret, || secret_bytes.clone(), &delivery.body, signature)
        });
        Self { number, id, is_invalid: false, result }
    }

    fn text(&self) -> String {
        let what = match &self.id {
            _ if self.is_invalid => "not a saved delivery".to_owned(),
            Some(id) => format!("event {id}"),
            None => "not an event".to_owned(),
        };
        let result = match &self.result {
            Ok(()) => format!("{SUCCESS_STYLE}verified{SUCCESS_STYLE:#}"),
            Err(_) => format!("{ERROR_STYLE}NOT VERIFIED{ERROR_STYLE:#}: {}", escape(&self.message())),
        };
        format!("line {}, {what}: {result}", self.number)
    }

    fn json(&self) -> String {
        let reasons = self.result.as_ref().map_or_else(Diagnosis::json, |()| json!([]));
        let id = self.id.map(|id| id.to_string());
        json!({ "line": self.number, "id": id, "valid": self.result.is_ok(), "reasons": reasons }).to_string()
    }

    fn message(&self) -> String {
        self.result.as_ref().err().map(Diagnosis::message).unwrap_or_default()
    }
}

/// The only signature of a delivery.
fn signature(headers: &HeaderMap) -> Result<&[u8], Diagnosis> {
    let mut values = headers.get_all(SIGNATURE_HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.as_bytes()),
        (Some(_), Some(_)) => Err(Diagnosis::new(
            "signature-repeated",
            format!(
                "there is more than one header {SIGNATURE_HEADER}: a proxy must not add it, and ROOMZ sends it once"
            ),
        )),
        (None, _) => Err(Diagnosis::new(
            "signature-missing",
            format!(
                "the header {SIGNATURE_HEADER} is missing: a proxy removed it, or ROOMZ is not the sender"
            ),
        )),
    }
}
