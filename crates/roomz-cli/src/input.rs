use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;

use crate::output;

/// The byte order mark, which Windows editors write at the beginning of a file.
pub(crate) const MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads a whole file; `None` and `-` mean standard input.
pub(crate) fn read(file: Option<&Path>) -> Result<Bytes> {
    let Some(file) = file.filter(|file| *file != Path::new("-")) else {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).context("cannot read standard input; name a file instead")?;
        return Ok(bytes.into());
    };
    let name = file.display();
    let cannot_read =
        |error| anyhow!("cannot read the file {name}: {error}; check that it exists and is readable");
    fs::read(file).map(Bytes::from).map_err(cannot_read)
}

/// Reads a body to send or sign, without a byte order mark. `verify` keeps it, because it may be signed.
pub(crate) fn read_body(file: Option<&Path>) -> Result<Bytes> {
    let body = read(file)?;
    let Some(rest) = body.strip_prefix(MARK) else { return Ok(body) };
    output::print_error("the body begins with a byte order mark, which is left out: remove it from the file");
    Ok(body.slice_ref(rest))
}
