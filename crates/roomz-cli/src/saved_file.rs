//! Reads files that `listen --save` wrote.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;

use crate::input;
use crate::saved_delivery::SavedDelivery;

/// The lines of a file, not yet parsed.
#[derive(Debug)]
pub(crate) struct SavedFile {
    /// The name of the file, for messages.
    pub(crate) name: String,
    bytes: Bytes,
}

impl SavedFile {
    /// Reads the whole file; `-` is standard input. Fails when it has no line.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let is_stdin = file == Path::new("-");
        let name = if is_stdin { "standard input".to_owned() } else { file.display().to_string() };
        let saved = Self { name, bytes: input::read(Some(file))? };
        let name = &saved.name;
        ensure!(!input::is_utf_16(&saved.bytes), "{name} is UTF-16: save it as UTF-8");
        ensure!(
            saved.lines().next().is_some(),
            "{name} contains no deliveries; record some with `roomz listen --save FILE`"
        );
        Ok(saved)
    }

    /// The lines that are not empty, with their numbers, from 1. Without byte order marks: files that were
    /// joined may contain several.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let lines = self.bytes.split(|byte| *byte == b'\n').enumerate();
        let lines = lines.map(|(index, line)| (index + 1, line.strip_prefix(input::MARK).unwrap_or(line)));
        lines.filter(|(_, line)| !line.trim_ascii().is_empty())
    }

    /// Parses one of the [`lines`](Self::lines), for a command that sends nothing when a line is invalid.
    pub(crate) fn parse(&self, number: usize, line: &[u8]) -> Result<SavedDelivery> {
        SavedDelivery::from_line(line).map_err(|problem| {
            anyhow!(
                "invalid line {number} of {}: {problem}; correct or remove the line; nothing was sent",
                self.name
            )
        })
    }
}
