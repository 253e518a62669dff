//! The file that `listen --save` writes, and `replay` and `verify` read: one [`SavedDelivery`] per line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::{Result, anyhow, ensure};

use crate::escape::escape_json;
use crate::input;
use crate::saved_delivery::SavedDelivery;

/// A file that `listen --save` wrote.
pub(crate) struct SavedFile {
    /// The name of the file, for messages.
    pub(crate) name: String,
    /// The deliveries, or why a line is invalid, with the numbers of their lines, from 1.
    pub(crate) lines: Vec<(usize, Result<SavedDelivery, String>)>,
}

impl SavedFile {
    /// Reads the whole file; `-` is standard input. Fails when it has no line.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let is_stdin = file == Path::new("-");
        let name = if is_stdin { "standard input".to_owned() } else { file.display().to_string() };
        let bytes = input::read(Some(file))?;
        let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
        // Files that were joined may contain several byte order marks.
        let lines = lines.map(|(line, number)| (number, line.strip_prefix(input::MARK).unwrap_or(line)));
        let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
        let lines: Vec<_> = lines.map(|(number, line)| (number, SavedDelivery::from_line(line))).collect();
        ensure!(!lines.is_empty(), "{name} contains no deliveries; record some with `roomz listen --save`");
        Ok(Self { name, lines })
    }
}

/// A file to which deliveries are appended, one per line.
#[derive(Debug)]
pub(crate) struct SaveFile(File);

impl SaveFile {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        // Anybody who can read a saved delivery can replay it, so only the owner may read the file.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let open = || {
            let (mut file, mut last) = (options.open(path)?, *b"\n");
            if file.metadata()?.is_file() && file.seek(SeekFrom::End(-1)).is_ok() {
                file.read_exact(&mut last)?;
            }
            // After a full disk, the last line may have no end.
            file.write_all(if last == *b"\n" { b"" } else { b"\n" })?;
            Ok(Self(file))
        };
        let name = path.display();
        open().map_err(|error: io::Error| {
            anyhow!("cannot write the file {name}: {error}; check that its directory exists and is writable")
        })
    }

    pub(crate) fn append(&mut self, delivery: &SavedDelivery) -> io::Result<()> {
        // The file may be printed on a terminal.
        let line = escape_json(&serde_json::to_string(delivery)?) + "\n";
        let end = self.0.metadata()?.len();
        self.0.write_all(line.as_bytes()).inspect_err(|_| {
            // The next delivery would be appended to a part of this line, and be lost with it.
            let _ = self.0.set_len(end);
        })
    }
}
