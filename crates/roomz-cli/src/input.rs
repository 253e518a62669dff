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

/// Reads a body to send or sign, without a byte order mark. `verify` keeps it, because it may be signed.
pub(crate) fn read_body(file: Option<&Path>) -> Result<Bytes> {
    let body = read(file)?;
    if is_utf_16(&body) {
        output::print_error("the body is UTF-16, which a receiver rejects: save it as UTF-8");
    }
    Ok(match body.strip_prefix(MARK) {
        None => body,
        Some(rest) => {
            output::print_error(
                "the body begins with a byte order mark, which is left out: remove it from the file",
            );
            body.slice_ref(rest)
        }
    })
}

/// Whether a text file begins with the byte order mark of UTF-16, which PowerShell and Windows editors write.
pub(crate) fn is_utf_16(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff")
}
