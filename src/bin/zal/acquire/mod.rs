//! The spool directory: how a scan comes in, is claimed, and leaves.
//!
//! ```text
//! {dir}/incoming/   writers rename finished scans in here
//! {dir}/work/       claimed: one folder per claim, its name is the claim id
//! {dir}/done/       judged
//! {dir}/bad/        could not be read; beside each a {claim}.reason.txt
//! ```
//!
//! A scan arrives in one of three ways, each as the last rename of its writer:
//!
//! * one file: `part7.pcd`, `.ply`, `.npy` or `.tiff`;
//! * an MVTec pair: first the colour `part7.png`, then `part7.tiff`, which triggers;
//! * a folder `part7/` with `xyz.tiff` and `rgb.png` (or any one scan file).
//!
//! Names that begin with a dot or end in `.tmp`, `.part` or `.partial` are never looked at.
//! Anything else that is not a picture is taken, so that a file nobody can read ends in
//! `bad/` with its reason instead of being forgotten.

pub mod intake;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::journal::Disposition;

/// Makes claim ids unique within one run; the time in them does it between runs.
static CLAIM_COUNT: AtomicU64 = AtomicU64::new(0);

/// The four folders of a spool.
#[derive(Debug, Clone)]
pub struct Spool {
    incoming: PathBuf,
    work: PathBuf,
    done: PathBuf,
    bad: PathBuf,
}

/// A scan that waits in `incoming/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// When it was last written.
    pub modified: SystemTime,
    /// Size of the file; 0 for a folder.
    pub size_bytes: u64,
    /// File or folder name.
    pub name: String,
}

/// A scan that nobody else can take any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Name of its folder in `work/`; stored with the result.
    pub id: String,
    /// Name of the part.
    pub part_id: String,
    /// The scan's file within the folder.
    pub scan_path: PathBuf,
}

impl Spool {
    /// Makes the folders that are missing.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let folder = |name: &str| {
            let path = dir.join(name);
            fs::create_dir_all(&path).map(|()| path)
        };
        Ok(Self {
            incoming: folder("incoming")?,
            work: folder("work")?,
            done: folder("done")?,
            bad: folder("bad")?,
        })
    }

    /// The folder that writers rename into.
    pub fn incoming(&self) -> &Path {
        &self.incoming
    }

    /// What waits, oldest first, then by name.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn waiting(&self) -> io::Result<Vec<Waiting>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.incoming)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // A file that vanishes between listing and asking was taken back by its writer.
            let Ok(meta) = entry.metadata() else { continue };
            if is_unfinished(&name) || (meta.is_file() && is_picture(&name)) {
                continue;
            }
            let size_bytes = if meta.is_file() { meta.len() } else { 0 };
            found.push(Waiting { modified: meta.modified()?, size_bytes, name });
        }
        found.sort_by(|a, b| (a.modified, &a.name).cmp(&(b.modified, &b.name)));
        Ok(found)
    }

    /// Takes a waiting scan. None when someone took it first.
    ///
    /// # Errors
    /// When the scan cannot be moved.
    pub fn claim(&self, name: &str, at: &str) -> io::Result<Option<Claim>> {
        let id = self.new_claim_id(name, at)?;
        let folder = self.work.join(&id);
        // The trigger is moved first: from then on the part has an owner.
        if let Err(error) = fs::rename(self.incoming.join(name), folder.join(name)) {
            fs::remove_dir(&folder)?;
            return if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) };
        }
        self.take_picture(name, &folder)?;
        // After a power cut the claim must not come undone, or the part is judged twice.
        File::open(&folder)?.sync_all()?;
        File::open(&self.work)?.sync_all()?;
        Ok(self.claim_of(&id))
    }

    /// Makes an empty folder with a name that was never used.
    fn new_claim_id(&self, name: &str, at: &str) -> io::Result<String> {
        let digits: String = at.chars().filter(char::is_ascii_alphanumeric).collect();
        loop {
            let count = CLAIM_COUNT.fetch_add(1, Ordering::Relaxed);
            let id = format!("{digits}-{count:06}-{}", sanitized(stem_of(name)));
            match fs::create_dir(self.work.join(&id)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| id),
            }
        }
    }

    /// Moves the colour image that belongs to a claimed .tiff beside it.
    fn take_picture(&self, name: &str, folder: &Path) -> io::Result<()> {
        if !has_extension(name, &["tif", "tiff"]) {
            return Ok(());
        }
        let picture = format!("{}.png", stem_of(name));
        match fs::rename(self.incoming.join(&picture), folder.join(&picture)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The claims that a former run left, in the order in which they were made. A colour
    /// image that was not yet moved beside its scan is moved now.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn left_over(&self) -> io::Result<Vec<Claim>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.work)? {
            if let Ok(id) = entry?.file_name().into_string() {
                ids.push(id);
            }
        }
        ids.sort();
        let mut claims = Vec::new();
        for id in ids {
            let folder = self.work.join(&id);
            match self.claim_of(&id) {
                Some(claim) => {
                    if let Some(name) = claim.scan_path.file_name().and_then(|n| n.to_str()) {
                        self.take_picture(name, &folder)?;
                    }
                    claims.push(claim);
                }
                // A folder made just before the crash, without a scan yet.
                None => drop(fs::remove_dir(&folder)),
            }
        }
        Ok(claims)
    }

    /// Reads what a claim holds from its folder.
    fn claim_of(&self, id: &str) -> Option<Claim> {
        let folder = self.work.join(id);
        let name = first_scan_in(&folder)?;
        let path = folder.join(&name);
        let scan_path = if path.is_dir() {
            pair_up(&path);
            first_scan_in(&path).map_or_else(|| path.clone(), |inner| path.join(inner))
        } else {
            path.clone()
        };
        let part_id = if path.is_dir() { name.as_str() } else { stem_of(&name) };
        Some(Claim { id: id.into(), part_id: part_id.into(), scan_path })
    }

    /// Moves a claim whose result is committed out of `work/`.
    ///
    /// # Errors
    /// When it cannot be moved; it then stays in `work/` and is moved at the next start.
    pub fn settle(&self, claim_id: &str, disposition: Disposition, reason: &str) -> io::Result<()> {
        let target = match disposition {
            Disposition::Done => &self.done,
            Disposition::Bad => {
                fs::write(self.bad.join(format!("{claim_id}.reason.txt")), format!("{reason}\n"))?;
                &self.bad
            }
        };
        fs::rename(self.work.join(claim_id), target.join(claim_id))
    }

    /// Removes the oldest of `done/` beyond `keep_count`.
    ///
    /// # Errors
    /// When the folder cannot be listed or one cannot be removed.
    pub fn prune_done(&self, keep_count: usize) -> io::Result<()> {
        let mut names: Vec<PathBuf> =
            fs::read_dir(&self.done)?.map(|entry| entry.map(|e| e.path())).collect::<io::Result<_>>()?;
        names.sort();
        let surplus = names.len().saturating_sub(keep_count);
        names.iter().take(surplus).try_for_each(fs::remove_dir_all)
    }
}

/// The scan file of a folder: `xyz.*` before all others, pictures only when there is nothing else.
fn first_scan_in(folder: &Path) -> Option<String> {
    let names = fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter(|name| !is_unfinished(name))
        .min_by_key(|name| (is_picture(name), stem_of(name) != "xyz", name.clone()))
}

/// Gives the colour of a folder the name by which the reader finds it beside its `xyz.tiff`.
fn pair_up(folder: &Path) {
    let has_xyz = ["xyz.tiff", "xyz.tif"].iter().any(|name| folder.join(name).exists());
    if has_xyz && !folder.join("xyz.png").exists() {
        // Without an rgb.png the scan has no colour, which the detector judges.
        let _ = fs::rename(folder.join("rgb.png"), folder.join("xyz.png"));
    }
}

/// Names that writers use while they write.
fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') || has_extension(name, &["tmp", "part", "partial"])
}

/// Colour images belong to a scan and trigger nothing.
fn is_picture(name: &str) -> bool {
    has_extension(name, &["png"])
}

fn has_extension(name: &str, extensions: &[&str]) -> bool {
    let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default();
    extensions.iter().any(|e| extension.eq_ignore_ascii_case(e))
}

fn stem_of(name: &str) -> &str {
    Path::new(name).file_stem().and_then(|s| s.to_str()).unwrap_or(name)
}

/// What a file name may hold everywhere, and not too long for one.
fn sanitized(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.chars().take(80).map(|c| if fits(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
