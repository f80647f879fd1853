//! A bundle's way in: copied under the hash of its bytes, going on after an interruption.

use std::fs::{self, File};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Store, StoreError};
use crate::bundle::archive::hex;

/// Bytes copied at a time.
const BLOCK_SIZE: usize = 1 << 18;
/// A larger file is no bundle: the copy would only fill the disk.
pub(super) const SIZE_MAX_BYTES: u64 = 16 << 30;

/// A copy that is as whole as its source was; nothing is known of its content yet.
#[derive(Debug)]
pub struct Received {
    /// Hash of the copy, lower-case hexadecimal.
    pub sha256: String,
    /// Where it lies until it has a slot.
    pub(super) path: PathBuf,
}

/// What is copied.
struct Original<'a, R> {
    reader: &'a mut R,
    name: &'a Path,
    size: u64,
}

impl Store {
    /// Copies a file into the store. What an interrupted copy of the same file left is used.
    /// `progress` hears bytes done and bytes in all, over reading and copying.
    ///
    /// # Errors
    /// When the file cannot be read, changes meanwhile, or the store cannot be written.
    pub fn receive(
        &mut self,
        source: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Received, StoreError> {
        let unread = |error| StoreError::Source { path: source.into(), source: error };
        // Opening a pipe would wait for its writer, so its kind is asked for first.
        let meta = fs::metadata(source).map_err(unread)?;
        let unfit = |found| StoreError::Unfit { path: source.into(), found };
        if !meta.is_file() {
            return Err(unfit(if meta.is_dir() { "a folder".into() } else { "no regular file".into() }));
        }
        if meta.len() > SIZE_MAX_BYTES {
            return Err(unfit(format!("a file of {} bytes", meta.len())));
        }
        let mut file = File::open(source).map_err(unread)?;
        self.take(&mut Original { reader: &mut file, name: source, size: meta.len() }, progress)
    }

    /// As [`Store::receive`], from bytes within the program; `name` is for messages.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn receive_bytes(&mut self, bytes: &[u8], name: &Path) -> Result<Received, StoreError> {
        let size = bytes.len() as u64;
        self.take(&mut Original { reader: &mut Cursor::new(bytes), name, size }, &mut |_, _| {})
    }

    fn take<R: Read + Seek>(
        &mut self,
        original: &mut Original<'_, R>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Received, StoreError> {
        let (name, size) = (original.name, original.size);
        let sha256 = hash(original.reader, &mut |done| progress(done, 2 * size))
            .map_err(|source| StoreError::Source { path: name.into(), source })?;
        let path = self.receiving_dir().join(format!("{sha256}.part"));
        let slot = self.slot(&sha256);
        if slot.path.is_file() && hash_of(&slot.path).is_some_and(|found| found == sha256) {
            return Ok(Received { sha256, path: slot.path });
        }
        self.copy(original, &path, &mut |done| progress(size + done, 2 * size))?;
        let found = hash_of(&path).unwrap_or_default();
        if found != sha256 {
            // The source was replaced, or the part was of no use.
            self.disk.remove(&path)?;
            return Err(StoreError::Changed { path: name.into(), found, expected: sha256 });
        }
        Ok(Received { sha256, path })
    }

    /// Appends what the part lacks.
    fn copy<R: Read + Seek>(
        &mut self,
        from: &mut Original<'_, R>,
        part: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), StoreError> {
        let name = from.name;
        let unread = |error| StoreError::Source { path: name.into(), source: error };
        let have = fs::metadata(part).map_or(0, |meta| meta.len());
        let mut to = if have == 0 { self.disk.create(part)? } else { open_to_append(part)? };
        from.reader.seek(SeekFrom::Start(have)).map_err(unread)?;
        let (mut block, mut done) = (vec![0; BLOCK_SIZE], have);
        // A source that grows while it is copied must not fill the disk.
        while done <= from.size {
            let count = from.reader.read(&mut block).map_err(unread)?;
            if count == 0 {
                break;
            }
            self.disk.append(&mut to, part, &block[..count])?;
            done += count as u64;
            progress(done);
        }
        self.disk.sync(&to, part)
    }
}

pub(super) fn open_to_append(path: &Path) -> Result<File, StoreError> {
    let opened = File::options().append(true).open(path);
    opened.map_err(|source| StoreError::Io { path: path.into(), source })
}

/// Hash of a file in the store; none when it cannot be read.
pub(super) fn hash_of(path: &Path) -> Option<String> {
    hash(&mut File::open(path).ok()?, &mut |_| {}).ok()
}

fn hash(reader: &mut impl Read, progress: &mut dyn FnMut(u64)) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let (mut block, mut done) = (vec![0; BLOCK_SIZE], 0);
    loop {
        let count = reader.read(&mut block)?;
        if count == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&block[..count]);
        done += count as u64;
        progress(done);
    }
}
