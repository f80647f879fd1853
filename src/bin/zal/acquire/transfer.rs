//! Moving files between folders that may lie on different disks.
//!
//! On one disk it is a rename. Across disks the content is copied under an unfinished name,
//! synced, renamed, and only then the source is removed: at every moment at least one whole
//! copy exists. When the daemon dies in between, [`finish`] removes the source at the next
//! start, so that the part is not judged twice.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Moves a file or folder.
///
/// # Errors
/// When that fails; then the source is whole and the target is not there.
pub(super) fn take(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => across(from, to),
        moved => moved,
    }
}

/// Moves by copying.
fn across(from: &Path, to: &Path) -> io::Result<()> {
    let partial = partial_of(to);
    let copied = copy(from, &partial).and_then(|()| fs::rename(&partial, to)).and_then(|()| sync_parent(to));
    if let Err(error) = copied.and_then(|()| remove(from)) {
        // The source stays the one copy. A second try begins anew.
        let _ = remove(&partial);
        if from.exists() {
            let _ = remove(to);
            return Err(error);
        }
    }
    Ok(())
}

/// Completes an interrupted move across disks: removes a source that was copied whole.
pub(super) fn finish(from: &Path, to: &Path) {
    let device =
        |path: &Path| path.parent().and_then(|parent| fs::metadata(parent).ok()).map(|meta| meta.dev());
    if device(from) != device(to) && is_copy(from, to) {
        let _ = remove(from);
    }
}

/// Whether both have the same files with the same sizes and times.
fn is_copy(from: &Path, to: &Path) -> bool {
    let (Ok(source), Ok(target)) = (fs::metadata(from), fs::metadata(to)) else { return false };
    if source.is_dir() && target.is_dir() {
        let entries = fs::read_dir(from).into_iter().flatten().flatten();
        return entries.into_iter().all(|entry| is_copy(&entry.path(), &to.join(entry.file_name())));
    }
    let same_time = source.modified().ok().zip(target.modified().ok()).is_some_and(|(a, b)| a == b);
    source.is_file() && target.is_file() && source.len() == target.len() && same_time
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::metadata(from)?;
    if meta.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return File::open(to)?.sync_all();
    }
    fs::copy(from, to)?;
    let file = File::options().write(true).open(to)?;
    file.set_modified(meta.modified()?)?;
    file.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// A name that nobody takes for a scan.
fn partial_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two folders on two disks, or none when this machine has no second one.
    fn two_disks() -> Option<(tempfile::TempDir, tempfile::TempDir)> {
        let here = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let there = tempfile::tempdir_in("/dev/shm").ok()?;
        let device = |folder: &tempfile::TempDir| fs::metadata(folder.path()).unwrap().dev();
        (device(&here) != device(&there)).then_some((here, there))
    }

    #[test]
    fn a_folder_moves_across_disks_whole_and_with_its_times() {
        let Some((here, there)) = two_disks() else { return };
        let from = there.path().join("part");
        fs::create_dir(&from).unwrap();
        fs::write(from.join("xyz.tiff"), "xyz").unwrap();
        let time = fs::metadata(from.join("xyz.tiff")).unwrap().modified().unwrap();
        let to = here.path().join("part");
        assert_eq!(fs::rename(&from, &to).unwrap_err().kind(), io::ErrorKind::CrossesDevices, "it is a test");
        take(&from, &to).unwrap();
        assert!(!from.exists());
        assert_eq!(fs::metadata(to.join("xyz.tiff")).unwrap().modified().unwrap(), time);
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 1, "no half copy stays");
    }

    #[test]
    fn an_interrupted_move_is_finished_but_a_new_scan_of_the_same_name_stays() {
        let Some((here, there)) = two_disks() else { return };
        let (from, to) = (there.path().join("p.npy"), here.path().join("p.npy"));
        fs::write(&from, "scan").unwrap();
        copy(&from, &to).unwrap();
        finish(&from, &to);
        assert!(!from.exists() && to.exists());
        fs::write(&from, "another scan").unwrap();
        finish(&from, &to);
        assert!(from.exists());
    }

    #[test]
    fn a_move_that_fails_leaves_the_source() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("p.npy");
        fs::write(&from, "scan").unwrap();
        assert!(across(&from, &folder.path().join("no/such/folder/p.npy")).is_err());
        assert_eq!(fs::read_to_string(&from).unwrap(), "scan");
        let gone = take(&folder.path().join("none"), &folder.path().join("x"));
        assert_eq!(gone.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
