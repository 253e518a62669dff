use std::path::{Path, PathBuf};
use std::process::Command;

use super::Server;
use crate::skipped;

/// The file in the directory of a server that says how far its clock is ahead.
const FILE: &str = "clock";

impl Server {
    /// Restarts the server with a clock of its own, which [`set_clock`](Self::set_clock) sets. If that is not
    /// possible, reports that the tests are skipped and returns `None`.
    pub fn with_own_clock_or_skip(mut self) -> Option<Self> {
        if libfaketime().is_none() {
            skipped("tests that set the clock of a server", "there is no `libfaketime.so.1` in /usr/lib");
            return None;
        }
        self.kill();
        self.set_clock(0);
        self.restart();
        Some(self)
    }

    /// Sets the clock of the server to this number of seconds ahead of the system's clock. Its clock that
    /// only measures durations is not changed, as on a machine whose clock is set.
    pub fn set_clock(&self, ahead: i64) {
        let (new, file) = (self.directory.join("clock.new"), self.directory.join(FILE));
        std::fs::write(&new, format!("{ahead:+}\n")).unwrap();
        // The server reads the file each time it reads its clock, so it must be complete.
        std::fs::rename(new, file).unwrap();
    }
}

/// Lets a server in this directory read its clock from a file, if there is one.
pub(super) fn use_clock_of(directory: &Path, command: &mut Command) {
    let file = directory.join(FILE);
    if let Some(library) = file.is_file().then(libfaketime).flatten() {
        // libfaketime calls the allocator before it knows the clock, and jemalloc, which Redis uses, calls
        // the clock. The second library replaces jemalloc by the allocator of libc.
        command.env("LD_PRELOAD", format!("{}:libc.so.6", library.display()));
        command.env("FAKETIME_TIMESTAMP_FILE", file);
        command.envs(["FAKETIME_NO_CACHE", "FAKETIME_DONT_FAKE_MONOTONIC"].map(|name| (name, "1")));
    }
}

/// Deletes what libfaketime leaves of a killed process: it stops a later process with the same id.
pub(super) fn forget(process: u32) {
    for name in ["faketime_shm", "sem.faketime_sem"] {
        let _ = std::fs::remove_file(format!("/dev/shm/{name}_{process}"));
    }
}

fn libfaketime() -> Option<PathBuf> {
    let directories = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut files = directories.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    files.find(|file| file.is_file())
}
