//! One reference set on disk: a folder of files that are each whole or not there.
//!
//! ```text
//! {dir}/{recipe}/{made with}/made-with.txt             bundle, mode and engine of the descriptors
//!                           /anchors/{number}-{name}.zref
//!                           /buffer/{number}-{name}.zref   the number is their order
//!                           /removed/{number}-{name}.zref  taken out by a person, for bringing it back
//!                           /damaged/                     what could not be read, each with a .reason.txt
//!                           /state.json                   threshold, levels, warm-up
//! ```
//!
//! A file is written under a hidden name, synced, renamed into place, and its folder synced: a kill or a
//! power cut leaves the old or the new one. The set that was in use with another bundle or engine stays in
//! its own folder, and is found again when that one comes back.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tracing::warn;
use zal::detector::ModeParams;
use zal::detector::references::{
    ReferenceRules, References, ReferencesState, Source, StoredMember, decode, encode,
};

/// Files kept of references that were taken out.
const REMOVED_MAX: usize = 64;
/// Digits of the number that a file's name begins with.
const NUMBER_LEN: usize = 12;
/// A reference takes less than this on disk, turned all round.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The folder of one set.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    next_number: u64,
}

/// A set as it was found on disk.
pub struct Loaded {
    /// The set.
    pub references: References,
    /// What was set aside, in words.
    pub damaged: Vec<String>,
}

impl Store {
    /// The folder of a recipe's set for descriptors of that origin.
    pub fn dir_of(root: &Path, recipe: &str, made_with: &str) -> PathBuf {
        let sum: String =
            Sha256::digest(made_with).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        root.join(file_name(recipe)).join(sum)
    }

    /// Opens the folder of a set, and makes it when there is none.
    ///
    /// # Errors
    /// When it cannot be made or listed.
    pub fn open(root: &Path, recipe: &str, made_with: &str) -> io::Result<Self> {
        let dir = Self::dir_of(root, recipe, made_with);
        for folder in ["anchors", "buffer", "removed", "damaged"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let note = dir.join("made-with.txt");
        if !note.exists() {
            write_whole(&note, format!("recipe {recipe}\n{made_with}\n").as_bytes())?;
            sync_dir(root)?;
        }
        let mut store = Self { dir, next_number: 0 };
        for folder in ["anchors", "buffer", "removed"] {
            let last = store.files(folder)?.last().and_then(|name| number_of(name));
            store.next_number = store.next_number.max(last.map_or(0, |number| number + 1));
        }
        Ok(store)
    }

    /// Reads the set. What is damaged is set aside and said; the rest is used.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn load(&self, rules: ReferenceRules, params: &ModeParams) -> io::Result<Option<Loaded>> {
        let Some(mut references) = References::new(rules, params) else { return Ok(None) };
        let (mut stored, mut damaged) = (Vec::new(), Vec::new());
        for folder in ["anchors", "buffer"] {
            for name in self.files(folder)? {
                match self.read(folder, &name) {
                    Ok(member) => stored.push((number_of(&name), member)),
                    Err(reason) => damaged.push(self.set_aside(&self.dir.join(folder).join(&name), &reason)),
                }
            }
        }
        stored.sort_by_key(|(number, _)| *number);
        let stored: Vec<StoredMember> = stored.into_iter().map(|(_, member)| member).collect();
        let state = self.state(&mut damaged);
        for (name, error) in references.restore(stored, state) {
            let path = self.path_of(&name).unwrap_or_else(|| self.dir.join(&name));
            damaged.push(self.set_aside(&path, &error.to_string()));
        }
        Ok(Some(Loaded { references, damaged }))
    }

    fn read(&self, folder: &str, name: &str) -> Result<StoredMember, String> {
        let path = self.dir.join(folder).join(name);
        let len = fs::metadata(&path).map_err(|error| error.to_string())?.len();
        if len > FILE_BYTES_MAX {
            return Err(format!("{len} bytes, expected at most {FILE_BYTES_MAX}"));
        }
        let bytes = fs::read(&path).map_err(|error| error.to_string())?;
        decode(&bytes).map_err(|error| error.to_string())
    }

    fn state(&self, damaged: &mut Vec<String>) -> ReferencesState {
        let path = self.dir.join("state.json");
        let Ok(text) = fs::read(&path) else { return ReferencesState::default() };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            damaged.push(self.set_aside(&path, &error.to_string()));
            ReferencesState::default()
        })
    }

    /// Moves a file that cannot be used away, with the reason beside it.
    fn set_aside(&self, path: &Path, reason: &str) -> String {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let target = self.dir.join("damaged").join(&name);
        if let Err(error) = fs::rename(path, &target) {
            warn!(%error, name, "a damaged reference stays where it is");
        }
        let _ = fs::write(self.dir.join("damaged").join(format!("{name}.reason.txt")), format!("{reason}\n"));
        format!("{name}: {reason}")
    }

    /// Writes everything of the set that has changed, and takes away what left it.
    ///
    /// # Errors
    /// When the disk does not take it; what is in memory is then ahead of it.
    pub fn save(&mut self, references: &mut References, left: &[String]) -> io::Result<()> {
        for name in references.take_changed() {
            self.put(references, &name)?;
        }
        for name in left {
            self.forget(name)?;
        }
        let state = serde_json::to_vec(references.state()).map_err(io::Error::other)?;
        write_whole(&self.dir.join("state.json"), &state)
    }

    fn put(&mut self, references: &References, name: &str) -> io::Result<()> {
        let (Some(bytes), Some(member)) = (encode(references, name), references.member(name)) else {
            return Ok(());
        };
        let folder = match member.source {
            Source::Anchor => "anchors",
            Source::Buffer => "buffer",
        };
        let before = self.path_of(name);
        let same = before.as_ref().filter(|path| path.parent() == Some(&self.dir.join(folder)));
        let path = same.cloned().unwrap_or_else(|| {
            self.next_number += 1;
            let number = self.next_number - 1;
            self.dir.join(folder).join(format!("{number:0NUMBER_LEN$}-{}.zref", file_name(name)))
        });
        write_whole(&path, &bytes)?;
        match before.filter(|before| *before != path) {
            Some(before) => fs::remove_file(before),
            None => Ok(()),
        }
    }

    fn forget(&self, name: &str) -> io::Result<()> {
        self.path_of(name).map_or(Ok(()), fs::remove_file)
    }

    /// Moves the file of a reference to where it can be brought back from.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let Some(path) = self.path_of(name) else { return Ok(()) };
        let removed = self.dir.join("removed");
        fs::rename(&path, removed.join(path.file_name().unwrap_or_default()))?;
        sync_dir(&removed)?;
        let files = self.files("removed")?;
        let surplus = files.len().saturating_sub(REMOVED_MAX);
        files.iter().take(surplus).try_for_each(|name| fs::remove_file(removed.join(name)))
    }

    /// A reference that a person had taken out; none when it is not kept any more.
    ///
    /// # Errors
    /// When the folder cannot be listed or the file is damaged.
    pub fn removed(&self, name: &str) -> io::Result<Option<StoredMember>> {
        let file = self.files("removed")?.into_iter().rev().find(|file| is_of(file, name));
        file.map(|file| self.read("removed", &file).map_err(io::Error::other)).transpose()
    }

    /// Takes the files away of a reference that was brought back.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn forget_removed(&self, name: &str) -> io::Result<()> {
        let files = self.files("removed")?;
        let of_name = files.iter().filter(|file| is_of(file, name));
        of_name.map(|file| self.dir.join("removed").join(file)).try_for_each(fs::remove_file)
    }

    /// The file of a reference in use.
    fn path_of(&self, name: &str) -> Option<PathBuf> {
        ["anchors", "buffer"].iter().find_map(|folder| {
            let file = self.files(folder).ok()?.into_iter().find(|file| is_of(file, name))?;
            Some(self.dir.join(folder).join(file))
        })
    }

    /// Names in a folder of the set, in order.
    fn files(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.dir.join(folder))?;
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.retain(|name| !name.starts_with('.') && name.ends_with(".zref"));
        names.sort();
        Ok(names)
    }
}

/// Writes a file whole or not at all, and so that a power cut does not undo it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hidden = path.with_file_name(format!(".{name}.tmp"));
    let mut file = File::create(&hidden)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&hidden, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn number_of(file: &str) -> Option<u64> {
    file.get(..NUMBER_LEN)?.parse().ok()
}

fn is_of(file: &str, name: &str) -> bool {
    file.get(NUMBER_LEN + 1..).and_then(|rest| rest.strip_suffix(".zref")) == Some(&file_name(name))
}

/// A name as a file can bear it: everything unusual as `%` and two hex digits, so that no two become one.
pub fn file_name(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            b'.' if !out.is_empty() => out.push('.'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_file_names_and_stay_apart() {
        assert_eq!(file_name("000000012-2026-part_7.a"), "000000012-2026-part_7.a");
        assert_eq!(file_name("../x"), "%2E.%2Fx");
        assert_ne!(file_name("a/b"), file_name("a%2Fb"));
        assert!(is_of("000000000007-a%2Fb.zref", "a/b") && !is_of("000000000007-a.zref", "b"));
    }
}
