//! Values by the hash of what they follow from, as `.npy` files.
//!
//! A file is written under another name and renamed, so that a name always stands for a whole file;
//! one that cannot be read counts as absent and is written again. The cache is for one version of the
//! program: the keys hold the package's version, not its code.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use zal::scan::npy;

/// Changes with what is kept and how.
const FORMAT: &str = concat!("zal.study/1 ", env!("CARGO_PKG_VERSION"));

/// Hash of the parts, each with its length, so that no two lists of parts are alike.
#[must_use]
pub fn key(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in [FORMAT].iter().chain(parts) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder of values.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    bytes_max: u64,
    bytes: AtomicU64,
    unfinished_count: AtomicU64,
}

impl Cache {
    /// Opens or makes the folder; what a killed process left half-written is removed.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(root: &Path, bytes_max: u64) -> Result<Self> {
        let bytes = sweep(root).with_context(|| format!("cannot use the folder {}", root.display()))?;
        Ok(Self {
            root: root.into(),
            bytes_max,
            bytes: AtomicU64::new(bytes),
            unfinished_count: AtomicU64::new(0),
        })
    }

    /// The shape and values of a key, when they are there.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        npy::read_f32(&fs::read(self.path(key)).ok()?).ok()
    }

    /// Keeps values, unless the cache is full.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put(&self, key: &str, shape: &[usize], values: &[f32]) -> Result<()> {
        let mut bytes = Vec::new();
        npy::write_f32(&mut bytes, shape, values)?;
        let size = bytes.len() as u64;
        if self.bytes.fetch_add(size, Ordering::Relaxed) + size > self.bytes_max {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            return Ok(());
        }
        let path = self.path(key);
        let number = self.unfinished_count.fetch_add(1, Ordering::Relaxed);
        let partial = path.with_extension(format!("{number}.partial"));
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
            fs::write(&partial, &bytes)?;
            fs::rename(&partial, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// 256 folders, so that none grows beyond what file systems like.
    fn path(&self, key: &str) -> PathBuf {
        self.root.join(&key[..2]).join(format!("{}.npy", &key[2..]))
    }
}

/// Makes the folder, removes unfinished files, and adds up the others' sizes.
fn sweep(root: &Path) -> std::io::Result<u64> {
    fs::create_dir_all(root)?;
    let mut bytes = 0;
    for folder in fs::read_dir(root)? {
        let folder = folder?.path();
        if !folder.is_dir() {
            continue;
        }
        for file in fs::read_dir(folder)? {
            let file = file?;
            if file.path().extension().is_some_and(|ending| ending == "partial") {
                fs::remove_file(file.path())?;
            } else {
                bytes += file.metadata()?.len();
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_damage_counts_as_absence() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path(), 1 << 20).expect("a cache");
        let key = key(&["a", "b"]);
        assert_eq!(cache.get(&key), None);
        cache.put(&key, &[2, 1], &[1.0, -2.5]).expect("written");
        assert_eq!(cache.get(&key), Some((vec![2, 1], vec![1.0, -2.5])));
        let path = cache.path(&key);
        fs::write(&path, &fs::read(&path).expect("it is there")[..40]).expect("cut");
        assert_eq!(cache.get(&key), None);
        cache.put(&key, &[1], &[3.0]).expect("written again");
        assert_eq!(cache.get(&key), Some((vec![1], vec![3.0])));
    }

    #[test]
    fn a_full_cache_keeps_what_it_has_and_takes_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (key(&["1"]), key(&["2"]));
        let put = |bytes_max| {
            let cache = Cache::open(folder.path(), bytes_max).expect("a cache");
            cache.put(&first, &[100], &[1.0; 100]).expect("written");
            cache.put(&second, &[100], &[2.0; 100]).expect("left out or written");
            (cache.get(&first).is_some(), cache.get(&second).is_some())
        };
        assert_eq!(put(700), (true, false));
        fs::write(folder.path().join(&first[..2]).join("x.0.partial"), "cut off").expect("written");
        assert_eq!(put(1 << 20), (true, true));
        assert!(!folder.path().join(&first[..2]).join("x.0.partial").exists());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["ab"]), key(&["ab", ""]));
        assert_eq!(key(&["ab"]), key(&["ab"]));
    }
}
