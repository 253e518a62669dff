use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;

/// Reads a whole file; `None` and `-` mean standard input.
pub(crate) fn read(file: Option<&Path>) -> Result<Bytes> {
    let Some(file) = file.filter(|file| *file != Path::new("-")) else {
        let mut bytes = Vec::new();
        io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .context("cannot read standard input; name a file instead")?;
        return Ok(bytes.into());
    };
    let bytes = fs::read(file).map_err(|error| {
        anyhow!(
            "cannot read the file {}: {error}; check that it exists and that this user can read it",
            file.display()
        )
    })?;
    Ok(bytes.into())
}
