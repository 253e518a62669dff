//! A small file system that a test can fill.

use std::fs::{File, remove_file};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use roomz_tests::not_permitted;
use tempfile::TempDir;

/// The size of the file system. The database and its log fit in it.
const MEGABYTES: usize = 48;

/// A mounted file system in memory. `Drop` unmounts it.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts it, or reports a skipped test if this user may not mount.
    pub(crate) fn mount_or_skip() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={MEGABYTES}m,mode=1777");
        let is_mounted = run(&["mount", "-t", "tmpfs", "-o", &options, "roomz-tests"], directory.path());
        if !is_mounted {
            not_permitted(
                "tests of a full disk",
                "this user may not mount a file system, and `sudo -n mount` failed",
            );
            return None;
        }
        Some(Self(directory))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file until no space is left.
    pub(crate) fn fill(&self) {
        let mut file = File::options().append(true).create(true).open(self.filler()).unwrap();
        // Smaller and smaller pieces, down to one byte.
        for exponent in (0..20).rev() {
            let piece = vec![0; 1 << exponent];
            while file.write_all(&piece).is_ok() {}
        }
    }

    /// Deletes that file.
    pub(crate) fn free(&self) {
        remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = run(&["umount"], self.path());
    }
}

/// Runs a command on a path, as this user or as root.
fn run(command: &[&str], path: &Path) -> bool {
    [&[][..], &["sudo", "-n"]].into_iter().any(|prefix| {
        let words = [prefix, command].concat();
        let (program, arguments) = words.split_first().unwrap();
        let status = Command::new(program).args(arguments).arg(path).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    })
}
