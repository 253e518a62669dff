use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use crate::failure::Failure;
use crate::saved::Saved;
use crate::text::safe_json;

/// A file that deliveries are appended to, one line each.
#[derive(Debug)]
pub(crate) struct SaveFile(File);

impl SaveFile {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        // A saved delivery can be replayed: it is nobody else's to read.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path).and_then(|mut file| end_line(&mut file).map(|()| Self(file))).map_err(|error| {
            Failure::failed(format!(
                "cannot write the file {}: {error}; see that its directory exists and may be written by this user",
                path.display()
            ))
        })
    }

    pub(crate) fn append(&mut self, saved: &Saved) -> io::Result<()> {
        // Somebody will look at the file in a terminal.
        let line = safe_json(&saved.to_json().to_string()) + "\n";
        self.0.write_all(line.as_bytes())
    }
}

/// A line that was cut off, by a full disk say, does not spoil the next one.
fn end_line(file: &mut File) -> io::Result<()> {
    if !file.metadata()?.is_file() || file.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}
