//! A disk that loses what was not synced: the states in which a power cut may leave it.
//!
//! Data reaches the disk with a sync of its file; before that, each write is there, not there
//! or there in part (whole sectors of 512 bytes). Names (create, rename, remove) reach it in
//! their order, as with journalling file systems, at the latest with the next sync: of any file
//! (`Names::WithAnySync`: ext4, XFS), or only of a folder (`Names::WithFolders`, as POSIX says).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::recording::Call;

/// When names reach the disk at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    WithAnySync,
    WithFolders,
}

const SECTOR_LEN: usize = 512;

/// A file's bytes on disk and the writes that may not have reached it.
#[derive(Debug, Clone, Default)]
struct Content {
    synced: Vec<u8>,
    pending: Vec<Change>,
    /// Where the next `write` goes.
    position: u64,
}

#[derive(Debug, Clone)]
enum Change {
    Bytes(u64, Vec<u8>),
    Len(u64),
}

/// A name: a folder, or a file by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

type Tree = BTreeMap<PathBuf, Node>;

/// The disk below one folder.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    files: Vec<Content>,
    /// The names as the process sees them.
    tree: Tree,
    /// The names after each change since they last reached the disk; the first is on disk.
    trees: Vec<Tree>,
}

impl Disk {
    /// Reads a folder, all of which is on disk.
    pub fn of(root: &Path) -> Self {
        let mut disk = Self::default();
        disk.add(root);
        disk.trees = vec![disk.tree.clone()];
        disk
    }

    fn add(&mut self, path: &Path) {
        if path.is_dir() {
            self.tree.insert(path.into(), Node::Folder);
            fs::read_dir(path).unwrap().for_each(|entry| self.add(&entry.unwrap().path()));
        } else {
            self.tree.insert(path.into(), Node::File(self.files.len()));
            self.files.push(Content { synced: fs::read(path).unwrap(), ..Content::default() });
        }
    }

    /// Applies one call. What lies outside of the folder is not there and stays so.
    pub fn apply(&mut self, call: &Call, root: &Path, names: Names) {
        match call {
            Call::Create { path, truncate } if path.starts_with(root) => self.create(path, *truncate),
            Call::Write { path, offset, bytes } => {
                if let Some(file) = self.file(path) {
                    let at = offset.unwrap_or(file.position);
                    file.position = at + bytes.len() as u64;
                    file.pending.push(Change::Bytes(at, bytes.clone()));
                }
            }
            Call::Truncate { path, len } => {
                if let Some(file) = self.file(path) {
                    file.pending.push(Change::Len(*len));
                }
            }
            Call::Sync { path } => self.sync(path, names),
            Call::Rename { from, to } => {
                let below: Vec<PathBuf> =
                    self.tree.keys().filter(|path| path.starts_with(from)).cloned().collect();
                for path in below {
                    let node = self.tree.remove(&path).unwrap();
                    let rest = path.strip_prefix(from).unwrap();
                    let target = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                    self.tree.insert(target, node);
                }
                self.trees.push(self.tree.clone());
            }
            Call::MakeDir { path } if path.starts_with(root) => {
                self.tree.insert(path.clone(), Node::Folder);
                self.trees.push(self.tree.clone());
            }
            Call::Remove { path } if self.tree.remove(path).is_some() => self.trees.push(self.tree.clone()),
            _ => {}
        }
    }

    fn create(&mut self, path: &Path, truncate: bool) {
        if let Some(file) = self.file(path) {
            file.position = 0;
            if truncate {
                file.pending.push(Change::Len(0));
            }
            return;
        }
        self.tree.insert(path.into(), Node::File(self.files.len()));
        self.files.push(Content::default());
        self.trees.push(self.tree.clone());
    }

    fn file(&mut self, path: &Path) -> Option<&mut Content> {
        match self.tree.get(path) {
            Some(Node::File(number)) => Some(&mut self.files[*number]),
            _ => None,
        }
    }

    fn sync(&mut self, path: &Path, names: Names) {
        let folder = self.tree.get(path) == Some(&Node::Folder);
        if let Some(file) = self.file(path) {
            for change in std::mem::take(&mut file.pending) {
                apply_change(&mut file.synced, &change, usize::MAX);
            }
        }
        if folder || names == Names::WithAnySync {
            self.trees = vec![self.tree.clone()];
        }
    }

    /// Writes one of the states after a power cut now to `target`, in place of `root`.
    pub fn write_image(&self, root: &Path, target: &Path, random: &mut ChaCha8Rng) {
        let tree = &self.trees[random.next_u32() as usize % self.trees.len()];
        let (mut seen, mut contents) = (BTreeMap::new(), 0);
        for (path, node) in tree {
            let place = target.join(path.strip_prefix(root).unwrap());
            match node {
                Node::Folder => fs::create_dir_all(place).unwrap(),
                // SQLite's shared memory is no content of a disk.
                Node::File(_) if path.to_string_lossy().ends_with("-shm") => {}
                Node::File(number) => {
                    assert!(seen.insert(*number, path).is_none(), "one file under two names");
                    fs::create_dir_all(place.parent().unwrap()).unwrap();
                    fs::write(place, self.after_cut(*number, random)).unwrap();
                    contents += 1;
                }
            }
        }
        assert!(contents > 0);
    }

    fn after_cut(&self, number: usize, random: &mut ChaCha8Rng) -> Vec<u8> {
        let file = &self.files[number];
        let mut bytes = file.synced.clone();
        for change in &file.pending {
            match random.next_u32() % 4 {
                0 => {}
                1 => apply_change(&mut bytes, change, random.next_u32() as usize % 9),
                _ => apply_change(&mut bytes, change, usize::MAX),
            }
        }
        bytes
    }
}

/// Applies a change, or at most so many sectors of it.
fn apply_change(bytes: &mut Vec<u8>, change: &Change, sectors: usize) {
    match change {
        Change::Len(len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
        Change::Bytes(at, new) => {
            let at = usize::try_from(*at).unwrap();
            let len = new.len().min(sectors.saturating_mul(SECTOR_LEN));
            if bytes.len() < at + len {
                bytes.resize(at + len, 0);
            }
            bytes[at..at + len].copy_from_slice(&new[..len]);
        }
    }
}
