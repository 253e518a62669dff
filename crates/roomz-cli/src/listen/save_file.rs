use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::{Result, anyhow};

use crate::escape::escape_json;
use crate::saved_delivery::SavedDelivery;

/// A file to which deliveries are appended, one per line.
#[derive(Debug)]
pub(super) struct SaveFile(File);

impl SaveFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        // Anybody who can read a saved delivery can replay it, so only the owner may read the file.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path).and_then(|mut file| end_last_line(&mut file).map(|()| Self(file))).map_err(|error| {
            anyhow!(
                "cannot write the file {}: {error}; check that its directory exists and that this user can write to it",
                path.display()
            )
        })
    }

    pub(super) fn append(&mut self, delivery: &SavedDelivery) -> io::Result<()> {
        // The file may be printed on a terminal.
        let line = escape_json(&serde_json::to_string(delivery)?) + "\n";
        self.0.write_all(line.as_bytes())
    }
}

/// Ends a truncated last line, for example after a full disk, so that it does not corrupt the next one.
fn end_last_line(file: &mut File) -> io::Result<()> {
    if !file.metadata()?.is_file() || file.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}
