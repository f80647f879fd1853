//! Every change of the store's files, one step after the other: where a power cut may strike.
//!
//! Data are synced before the name that promises them, and a name before anything relies on it: a file is
//! written under another name, synced, renamed, and its folder synced. A hook sees every step before it
//! is made, so that tests can stop at any of them and know what would be lost.
//!
//! A technician works as root, the daemon as a user of its own: what root makes here belongs to the owner
//! of the folder that it lies in, so that the daemon can go on with it.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use super::StoreError;

/// A change of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Makes a folder.
    MakeDir(PathBuf),
    /// Makes a file, or empties it.
    Create(PathBuf),
    /// Appends to a file.
    Append(PathBuf, Vec<u8>),
    /// Waits until a file's data are on disk.
    SyncFile(PathBuf),
    /// Renames a file over another.
    Rename(PathBuf, PathBuf),
    /// Removes a file.
    Remove(PathBuf),
    /// Waits until a folder's names are on disk.
    SyncDir(PathBuf),
}

/// Sees every step before it is made; an error stops there.
pub type Hook = Box<dyn FnMut(&Step) -> std::io::Result<()> + Send>;

/// Makes the changes.
#[derive(Default)]
pub struct Disk {
    hook: Option<Hook>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("hook", &self.hook.is_some()).finish()
    }
}

impl Disk {
    /// A disk whose every step is shown to `hook` first.
    #[must_use]
    pub fn with_hook(hook: Hook) -> Self {
        Self { hook: Some(hook) }
    }

    fn step(
        &mut self,
        path: &Path,
        step: impl FnOnce() -> Step,
        act: impl FnOnce() -> std::io::Result<()>,
    ) -> Result<(), StoreError> {
        let shown = self.hook.as_mut().map_or(Ok(()), |hook| hook(&step()));
        shown.and_then(|()| act()).map_err(|source| StoreError::Io { path: path.into(), source })
    }

    /// Makes a folder and those above it; it may be there.
    pub(super) fn make_dir(&mut self, path: &Path) -> Result<(), StoreError> {
        if path.is_dir() {
            return Ok(());
        }
        self.step(path, || Step::MakeDir(path.into()), || fs::create_dir_all(path))?;
        hand_over(path);
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => self.sync_dir(parent),
            None => Ok(()),
        }
    }

    /// Makes or empties a file.
    pub(super) fn create(&mut self, path: &Path) -> Result<File, StoreError> {
        let mut made = None;
        self.step(
            path,
            || Step::Create(path.into()),
            || {
                made = Some(File::create(path)?);
                Ok(())
            },
        )?;
        hand_over(path);
        Ok(made.expect("the step was made, or there was an error"))
    }

    /// Appends to an open file.
    pub(super) fn append(&mut self, file: &mut File, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        self.step(path, || Step::Append(path.into(), bytes.into()), || file.write_all(bytes))
    }

    /// Waits until a file's data are on disk.
    pub(super) fn sync(&mut self, file: &File, path: &Path) -> Result<(), StoreError> {
        self.step(path, || Step::SyncFile(path.into()), || file.sync_all())
    }

    /// Renames a file within the store and waits until the names are on disk.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.step(to, || Step::Rename(from.into(), to.into()), || fs::rename(from, to))?;
        let folders = [from.parent(), to.parent()];
        for folder in folders.iter().flatten().take(if folders[0] == folders[1] { 1 } else { 2 }) {
            self.sync_dir(folder)?;
        }
        Ok(())
    }

    /// Removes a file; it may be gone already.
    pub(super) fn remove(&mut self, path: &Path) -> Result<(), StoreError> {
        let gone = |result: std::io::Result<()>| match result {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        self.step(path, || Step::Remove(path.into()), || gone(fs::remove_file(path)))
    }

    /// Replaces a file's content as a whole.
    pub(super) fn put(&mut self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let unfinished = path.with_extension("new");
        let mut file = self.create(&unfinished)?;
        self.append(&mut file, &unfinished, bytes)?;
        self.sync(&file, &unfinished)?;
        self.rename(&unfinished, path)
    }

    /// Waits until a folder's names are on disk.
    pub(super) fn sync_dir(&mut self, path: &Path) -> Result<(), StoreError> {
        self.step(path, || Step::SyncDir(path.into()), || File::open(path)?.sync_all())
    }
}

/// A file to lock; its content means nothing.
pub(super) fn lock_file(path: &Path) -> Result<File, StoreError> {
    let mut options = File::options();
    let opened = options.create(true).truncate(false).write(true).open(path);
    let file = opened.map_err(|source| StoreError::Io { path: path.into(), source })?;
    hand_over(path);
    Ok(file)
}

/// Gives a file or folder to the owner of the folder it lies in. Only root can, and only root needs to.
pub(super) fn hand_over(path: &Path) {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let (Some(Ok(folder)), Ok(own)) = (parent.map(fs::metadata), fs::metadata(path)) else { return };
    if (folder.uid(), folder.gid()) != (own.uid(), own.gid()) {
        let _ = chown(path, Some(folder.uid()), Some(folder.gid()));
    }
}
