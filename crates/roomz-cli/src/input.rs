use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use bytes::Bytes;

use crate::error::CliError;

/// Reads a whole file; `None` and `-` mean standard input.
pub(crate) fn read(file: Option<&Path>) -> Result<Bytes, CliError> {
    let mut bytes = Vec::new();
    match file.filter(|file| *file != Path::new("-")) {
        None => io::stdin().lock().read_to_end(&mut bytes).map_err(|error| {
            CliError::failed(format!("cannot read standard input: {error}; name a file instead"))
        })?,
        Some(file) => {
            File::open(file).and_then(|mut opened| opened.read_to_end(&mut bytes)).map_err(|error| {
                CliError::failed(format!(
                    "cannot read the file {}: {error}; check that it exists and that this user can read it",
                    file.display()
                ))
            })?
        }
    };
    Ok(bytes.into())
}
