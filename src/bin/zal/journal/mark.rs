//! How far seqs may have been used: a small file beside the journal and apart from it.
//!
//! ```text
//! bytes 0-63    zal-seq/1 reserved  {20 digits} {16 hex digits} and spaces, line feed
//! bytes 64-127  zal-seq/1 committed {20 digits} {16 hex digits} and spaces, line feed
//! ```
//!
//! `reserved`: every seq below it may have been used. It is synced before the journal commits
//! the first seq of a block, so a journal that is lost altogether is continued above it.
//! `committed`: the last seq that was committed, written after each commit without waiting for
//! the disk. A journal that knows less has lost its end (a missing or cut `-wal` looks sound
//! to SQLite). Both lines are overwritten in place, which works on a full disk too; the hex
//! digits are the start of the sha256 of what stands before them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Seqs reserved at a time: one wait for the disk in so many results.
const BLOCK_COUNT: u64 = 1_024;
/// Bytes of a line.
const LINE_LEN: usize = 64;

/// The open file and what stands in it.
#[derive(Debug)]
pub struct SeqMark {
    file: File,
    reserved: u64,
    committed: u64,
}

impl SeqMark {
    /// Where the file of a journal is.
    pub fn path_of(journal: &Path) -> PathBuf {
        let mut name = journal.as_os_str().to_owned();
        name.push(".seq");
        name.into()
    }

    /// Opens the file of a journal, and makes it when there is none. A damaged line counts as 0.
    ///
    /// # Errors
    /// When the file cannot be opened or made.
    pub fn open(journal: &Path) -> io::Result<Self> {
        let path = Self::path_of(journal);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        let mut bytes = [b' '; 2 * LINE_LEN];
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX).min(bytes.len());
        file.read_exact_at(&mut bytes[..len], 0)?;
        if len == 0 {
            // The name must outlive a power cut as the content does.
            File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
        }
        let (reserved, committed) = bytes.split_at(LINE_LEN);
        let read = |line, word| read_line(line, word).unwrap_or_default();
        Ok(Self { file, reserved: read(reserved, "reserved"), committed: read(committed, "committed") })
    }

    /// Every seq below this may have been used.
    pub const fn reserved(&self) -> u64 {
        self.reserved
    }

    /// The last seq known to be committed.
    pub const fn committed(&self) -> u64 {
        self.committed
    }

    /// Makes sure that all seqs below `end` are reserved, on disk.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn reserve(&mut self, end: u64) -> io::Result<()> {
        if end <= self.reserved {
            return Ok(());
        }
        let reserved = end.saturating_add(BLOCK_COUNT);
        self.file.write_all_at(&line("reserved", reserved), 0)?;
        self.file.sync_data()?;
        self.reserved = reserved;
        Ok(())
    }

    /// Notes the last committed seq, without waiting for the disk.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn note_committed(&mut self, seq: u64) -> io::Result<()> {
        if seq > self.committed {
            self.file.write_all_at(&line("committed", seq), LINE_LEN as u64)?;
            self.committed = seq;
        }
        Ok(())
    }
}

fn line(word: &str, value: u64) -> [u8; LINE_LEN] {
    let text = format!("zal-seq/1 {word:<9} {value:020} ");
    let text = format!("{text}{}", sum(&text));
    let mut bytes = [b' '; LINE_LEN];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes[LINE_LEN - 1] = b'\n';
    bytes
}

fn read_line(bytes: &[u8], word: &str) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end();
    let (before, found) = text.split_at_checked(text.rfind(' ')? + 1)?;
    let mut words = before.split_ascii_whitespace();
    let named = words.next() == Some("zal-seq/1") && words.next() == Some(word);
    (named && found == sum(before)).then(|| words.next()?.parse().ok()).flatten()
}

fn sum(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_numbers_come_back_and_only_grow() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("j.db");
        let mut mark = SeqMark::open(&journal).unwrap();
        assert_eq!((mark.reserved(), mark.committed()), (0, 0));
        mark.reserve(5).unwrap();
        mark.note_committed(4).unwrap();
        mark.reserve(6).unwrap();
        mark.note_committed(3).unwrap();
        let again = SeqMark::open(&journal).unwrap();
        assert_eq!((again.reserved(), again.committed()), (5 + BLOCK_COUNT, 4));
        let text = std::fs::read_to_string(SeqMark::path_of(&journal)).unwrap();
        assert!(text.starts_with("zal-seq/1 reserved  00000000000000001029 "), "{text}");
        assert_eq!(text.len(), 2 * LINE_LEN);
    }

    #[test]
    fn a_damaged_line_counts_as_nothing_and_the_other_stands() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("j.db");
        let mut mark = SeqMark::open(&journal).unwrap();
        mark.reserve(5).unwrap();
        mark.note_committed(4).unwrap();
        let path = SeqMark::path_of(&journal);
        let whole = std::fs::read(&path).unwrap();
        for at in (0..whole.len()).filter(|at| !whole[*at].is_ascii_whitespace()) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let read = SeqMark::open(&journal).unwrap();
            let expected = if at < LINE_LEN { (0, 4) } else { (5 + BLOCK_COUNT, 0) };
            assert_eq!((read.reserved(), read.committed()), expected, "byte {at}");
        }
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert!(SeqMark::open(&journal).unwrap().committed() <= 4, "cut at {len}");
        }
    }
}
