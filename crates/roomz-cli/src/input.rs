use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use bytes::Bytes;

use crate::failure::Failure;

/// All bytes of a file, or of standard input where there is no file or it is `-`.
pub(crate) fn read(file: Option<&Path>) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    match file.filter(|file| *file != Path::new("-")) {
        None => io::stdin().lock().read_to_end(&mut bytes).map_err(|error| {
            Failure::failed(format!("cannot read standard input: {error}; name a file instead"))
        })?,
        Some(file) => {
            File::open(file).and_then(|mut opened| opened.read_to_end(&mut bytes)).map_err(|error| {
                Failure::failed(format!(
                    "cannot read the file {}: {error}; see that it exists and may be read by this user",
                    file.display()
                ))
            })?
        }
    };
    Ok(bytes.into())
}
