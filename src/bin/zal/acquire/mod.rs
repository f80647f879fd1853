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
//! `bad/` with its reason instead of being forgotten. A picture whose scan does not come ends
//! there too (`pictures`).
//!
//! The folders may lie on different disks: what cannot be renamed is copied, synced and then
//! removed (`transfer`). When a scan cannot be claimed at all, because the disk is full or
//! read-only, it is judged where it lies and moved when that is possible again.

pub mod intake;
mod pictures;
mod suspects;
mod transfer;
mod watch;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::warn;

use crate::journal::Disposition;
pub use suspects::{Stage, Suspects};

/// Numbers the claims in their order, also when the clock is set back; goes on above what lies
/// in the spool. The time in an id makes it unique when the spool was emptied.
static CLAIM_COUNT: AtomicU64 = AtomicU64::new(0);
/// Digits of the number that a claim id begins with.
const NUMBER_LEN: usize = 9;
/// Beside a claimed scan: how often the daemon ended while it worked on it.
const TRIES_FILE: &str = ".tries";

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
    /// The scan's file.
    pub scan_path: PathBuf,
    /// How often the daemon ended while it worked on this scan.
    pub tries: u32,
    /// Its name in `incoming/`, when it could not be moved to `work/`.
    pub in_place: Option<String>,
}

/// The scan's file in the folder of a claim, wherever that folder lies by now.
pub fn scan_file(folder: &Path) -> Option<PathBuf> {
    let path = folder.join(first_scan_in(folder)?);
    if path.is_dir() { first_scan_in(&path).map(|inner| path.join(inner)) } else { Some(path) }
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
        let spool = Self {
            incoming: folder("incoming")?,
            work: folder("work")?,
            done: folder("done")?,
            bad: folder("bad")?,
        };
        for folder in [&spool.work, &spool.done, &spool.bad] {
            let numbers =
                fs::read_dir(folder)?.filter_map(|entry| number_of(entry.ok()?.file_name().to_str()?));
            CLAIM_COUNT.fetch_max(numbers.max().map_or(0, |number| number + 1), Ordering::Relaxed);
        }
        Ok(spool)
    }

    /// The folder of claimed scans.
    pub fn work(&self) -> &Path {
        &self.work
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
    /// When the scan cannot be moved; it is then still in `incoming/`.
    pub fn claim(&self, name: &str, at: &str) -> io::Result<Option<Claim>> {
        let id = self.new_claim_id(name, at)?;
        let folder = self.work.join(&id);
        // The trigger is moved first: from then on the part has an owner.
        if let Err(error) = transfer::take(&self.incoming.join(name), &folder.join(name)) {
            // What is left is empty, or removed at the next start.
            let _ = fs::remove_dir_all(&folder);
            return if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) };
        }
        self.take_picture(name, &folder);
        // After a power cut the claim must not come undone, or the part is judged twice. That
        // is better than not at all.
        let synced = File::open(&folder).and_then(|folder| folder.sync_all());
        let synced = synced.and_then(|()| File::open(&self.work)?.sync_all());
        synced.unwrap_or_else(|error| warn!(%error, claim = id, "the claim may come undone by a power cut"));
        Ok(self.claim_of(&id))
    }

    /// A waiting scan as it lies, for when it cannot be claimed. The same scan has the same id
    /// again after a restart.
    pub fn in_place(&self, waiting: &Waiting) -> Claim {
        let name = &waiting.name;
        let written_ns = waiting.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let path = self.incoming.join(name);
        let part_id = if path.is_dir() { name.as_str() } else { stem_of(name) };
        let inner = if path.is_dir() { first_scan_in(&path) } else { None };
        Claim {
            id: format!("inplace-{written_ns}-{}-{}", waiting.size_bytes, sanitized(stem_of(name))),
            part_id: part_id.into(),
            scan_path: inner.map_or_else(|| path.clone(), |inner| path.join(inner)),
            tries: 0,
            in_place: Some(name.clone()),
        }
    }

    /// Makes an empty folder with a name that was never used.
    fn new_claim_id(&self, name: &str, at: &str) -> io::Result<String> {
        let digits: String = at.chars().filter(char::is_ascii_alphanumeric).collect();
        loop {
            let count = CLAIM_COUNT.fetch_add(1, Ordering::Relaxed);
            let id = format!("{count:0NUMBER_LEN$}-{digits}-{}", sanitized(stem_of(name)));
            match fs::create_dir(self.work.join(&id)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| id),
            }
        }
    }

    /// Whether a waiting scan may have a colour image that has not come yet.
    pub fn awaits_picture(&self, name: &str) -> bool {
        has_extension(name, &["tif", "tiff"]) && !self.incoming.join(picture_of(name)).exists()
    }

    /// Moves the colour image that belongs to a claimed .tiff beside it. Without it the scan
    /// has no colour, which the detector judges.
    fn take_picture(&self, name: &str, folder: &Path) {
        if !has_extension(name, &["tif", "tiff"]) {
            return;
        }
        let picture = picture_of(name);
        match transfer::take(&self.incoming.join(&picture), &folder.join(&picture)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(%error, picture, "the colour image stays in incoming/");
            }
            _ => {}
        }
    }

    /// The claims that a former run left, in the order in which they were made. What a crash
    /// interrupted is finished: a colour image not yet moved, a copied scan not yet removed.
    /// `suspects` are those that the daemon was at when it ended.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn left_over(&self, suspects: &[String]) -> io::Result<Vec<Claim>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.work)? {
            if let Ok(id) = entry?.file_name().into_string() {
                ids.push(id);
            }
        }
        ids.retain(|id| !id.starts_with('.'));
        ids.sort();
        let mut claims = Vec::new();
        for id in ids {
            let folder = self.work.join(&id);
            if suspects.contains(&id) {
                count_try(&folder);
            }
            let Some(claim) = self.claim_of(&id) else {
                remove_unfinished(&folder);
                continue;
            };
            if let Some(name) = first_scan_in(&folder) {
                transfer::finish(&self.incoming.join(&name), &folder.join(&name));
                self.take_picture(&name, &folder);
            }
            claims.push(claim);
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
        let tries = tries_of(&folder);
        Some(Claim { id: id.into(), part_id: part_id.into(), scan_path, tries, in_place: None })
    }

    /// Moves a claim whose result is committed out of `work/`. Doing it twice is harmless.
    ///
    /// # Errors
    /// When it cannot be moved; it then stays where it is.
    pub fn settle(&self, claim: &Claim, disposition: Disposition, reason: &str) -> io::Result<()> {
        let target = match disposition {
            Disposition::Done => &self.done,
            Disposition::Bad => {
                let path = self.bad.join(format!("{}.reason.txt", claim.id));
                // On a full disk the scan may still be moved; the journal has the reason.
                fs::write(&path, format!("{reason}\n"))
                    .unwrap_or_else(|error| warn!(%error, path = %path.display(), "no reason written"));
                &self.bad
            }
        };
        let target = target.join(&claim.id);
        let moved = match &claim.in_place {
            None => transfer::take(&self.work.join(&claim.id), &target),
            Some(name) => {
                fs::create_dir_all(&target)?;
                self.take_picture(name, &target);
                transfer::take(&self.incoming.join(name), &target.join(name))
            }
        };
        match moved {
            // It was moved before.
            Err(error) if error.kind() == io::ErrorKind::NotFound && target.exists() => Ok(()),
            moved => moved,
        }
    }

    /// The scan of an answered claim, while it is kept in `done/`.
    pub fn kept_scan(&self, claim_id: &str) -> Option<PathBuf> {
        let kept = Self { work: self.done.clone(), ..self.clone() };
        Some(kept.claim_of(claim_id)?.scan_path)
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

/// The number that a claim id begins with.
fn number_of(id: &str) -> Option<u64> {
    let (number, _) = id.split_once('-')?;
    (number.len() == NUMBER_LEN).then(|| number.parse().ok()).flatten()
}

fn tries_of(folder: &Path) -> u32 {
    fs::read_to_string(folder.join(TRIES_FILE)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Notes that the daemon ended while it worked on a claim.
fn count_try(folder: &Path) {
    let text = format!("{}\n", tries_of(folder) + 1);
    let written = fs::write(folder.join(TRIES_FILE), text);
    let synced = written.and_then(|()| File::open(folder.join(TRIES_FILE))?.sync_all());
    synced.unwrap_or_else(|error| warn!(%error, folder = %folder.display(), "the try is not counted"));
}

/// Removes a claim without a scan: made just before the crash, or holding half a copy.
fn remove_unfinished(folder: &Path) {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    if names.into_iter().all(|name| name.to_str().is_some_and(is_unfinished)) {
        let _ = fs::remove_dir_all(folder);
    }
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

fn picture_of(name: &str) -> String {
    format!("{}.png", stem_of(name))
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
