//! The part of a bundle that has come over a network so far, and what the server called that version.
//!
//! ```text
//! receiving/url-<sha256 of the address>.part   the bytes so far
//! receiving/url-<sha256 of the address>.tag    the server's ETag of them
//! ```
//!
//! Nothing here speaks to a network: the caller fetches and appends. Bytes without a tag are of no use,
//! since nobody can say whether the rest belongs to them.

use std::fs::{self, File};
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::receive::{Received, SIZE_MAX_BYTES, hash_of, open_to_append};
use super::{Store, StoreError};
use crate::bundle::archive::hex;

/// A download, begun or gone on with.
#[derive(Debug)]
pub struct Download<'a> {
    store: &'a mut Store,
    url: String,
    part: PathBuf,
    tag: PathBuf,
    file: Option<File>,
    have: u64,
}

impl Store {
    /// Takes up the download of an address where it stopped.
    pub fn download(&mut self, url: &str) -> Download<'_> {
        let name = hex(&Sha256::digest(url.as_bytes()));
        let folder = self.receiving_dir();
        let (part, tag) = (folder.join(format!("url-{name}.part")), folder.join(format!("url-{name}.tag")));
        let have = fs::metadata(&part).map_or(0, |meta| meta.len());
        Download { store: self, url: url.into(), part, tag, file: None, have }
    }
}

impl Download<'_> {
    /// Bytes that are here and the server's tag of them, when the download can be gone on with.
    #[must_use]
    pub fn resume_from(&self) -> Option<(u64, String)> {
        let tag = fs::read_to_string(&self.tag).ok().filter(|tag| !tag.is_empty())?;
        (self.have > 0).then_some((self.have, tag))
    }

    /// Bytes that are here.
    #[must_use]
    pub const fn have(&self) -> u64 {
        self.have
    }

    /// Goes on behind the bytes that are here.
    ///
    /// # Errors
    /// When they cannot be written to.
    pub fn go_on(&mut self) -> Result<(), StoreError> {
        self.file = Some(open_to_append(&self.part)?);
        Ok(())
    }

    /// Begins anew; `tag` is the server's name of this version.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn begin(&mut self, tag: Option<&str>) -> Result<(), StoreError> {
        let folder = self.store.receiving_dir();
        let disk = &mut self.store.disk;
        // The old tag must not stand beside new bytes, after a power cut neither.
        disk.remove(&self.tag)?;
        disk.sync_dir(&folder)?;
        self.file = Some(disk.create(&self.part)?);
        self.have = 0;
        match tag {
            Some(tag) => disk.put(&self.tag, tag.as_bytes()),
            None => Ok(()),
        }
    }

    /// Appends bytes as they come.
    ///
    /// # Errors
    /// When they cannot be written, or are too many.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.have + bytes.len() as u64 > SIZE_MAX_BYTES {
            let found = format!("more than {SIZE_MAX_BYTES} bytes");
            return Err(StoreError::Unfit { path: self.url.clone().into(), found });
        }
        let file = self.file.as_mut().expect("begin or go_on was called");
        self.store.disk.append(file, &self.part, bytes)?;
        self.have += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what is here: the server has something else.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub fn discard(&mut self) -> Result<(), StoreError> {
        self.file = None;
        self.have = 0;
        self.store.disk.remove(&self.tag)?;
        self.store.disk.remove(&self.part)
    }

    /// Ends the download: all bytes are here.
    ///
    /// # Errors
    /// When they cannot be synced or read back.
    pub fn finish(mut self) -> Result<Received, StoreError> {
        if let Some(file) = self.file.take() {
            self.store.disk.sync(&file, &self.part)?;
        }
        let unread =
            || StoreError::Io { path: self.part.clone(), source: std::io::Error::other("unreadable") };
        let sha256 = hash_of(&self.part).ok_or_else(unread)?;
        self.store.disk.remove(&self.tag)?;
        Ok(Received { sha256, path: self.part })
    }
}
