//! Which scans the daemon is at, so that after a crash it is known which one may be the cause.
//!
//! ```text
//! work/.in-hand    two lines of 160 bytes: the claim being read, the claim being judged
//! ```
//!
//! The lines are overwritten in place, without waiting for the disk: they need to outlive the
//! process, not a power cut. A claim named in them at the next start has had one try; after
//! `spool.tries_max` of them it is answered `not_decidable{crash_loop}` and goes to `bad/`.
//! A claim with tries is worked on alone, so that no innocent one shares its fate.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use tracing::debug;

/// Bytes of a line; the longest claim id has 120.
const LINE_LEN: usize = 160;

/// What is done with a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its file is read.
    Reading,
    /// It is in the detector.
    Judging,
}

/// The file; clones share it. Without one nothing is noted.
#[derive(Debug, Clone, Default)]
pub struct Suspects {
    file: Option<Arc<File>>,
}

impl Suspects {
    /// Opens the file in `work/`; gives the claims that the last run was at when it ended.
    pub fn open(work: &Path) -> (Self, Vec<String>) {
        let path = work.join(".in-hand");
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut text = String::new();
        let file = opened.and_then(|mut file| {
            file.read_to_string(&mut text)?;
            Ok(Arc::new(file))
        });
        let file = file.inspect_err(|error| debug!(%error, "the scan in hand is not noted")).ok();
        let suspects = Self { file };
        suspects.end(Stage::Reading);
        suspects.end(Stage::Judging);
        (suspects, text.split_whitespace().map(str::to_owned).collect())
    }

    /// Notes what is done with a claim.
    pub fn begin(&self, stage: Stage, claim_id: &str) {
        let mut line = [b' '; LINE_LEN];
        let len = claim_id.len().min(LINE_LEN - 1);
        line[..len].copy_from_slice(&claim_id.as_bytes()[..len]);
        self.write(stage, &mut line);
    }

    /// Notes that it is finished.
    pub fn end(&self, stage: Stage) {
        self.write(stage, &mut [b' '; LINE_LEN]);
    }

    fn write(&self, stage: Stage, line: &mut [u8; LINE_LEN]) {
        line[LINE_LEN - 1] = b'\n';
        let offset = match stage {
            Stage::Reading => 0,
            Stage::Judging => LINE_LEN as u64,
        };
        if let Some(file) = &self.file {
            // A disk that takes nothing is seen elsewhere; here it costs a count.
            let _ = file.write_all_at(line, offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_hand_is_known_to_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let (suspects, before) = Suspects::open(folder.path());
        assert!(before.is_empty());
        suspects.begin(Stage::Reading, "c");
        suspects.begin(Stage::Judging, "a");
        suspects.end(Stage::Judging);
        suspects.clone().begin(Stage::Judging, "b");
        assert_eq!(Suspects::open(folder.path()).1, ["c", "b"]);
        assert!(Suspects::open(folder.path()).1.is_empty(), "told once");
    }
}
