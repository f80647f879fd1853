//! Slots, index and log on disk.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::index::{self, Index, Phase, Setback, SetbackCode};
use super::receive::{Received, hash_of};
use super::{LogLine, Slot, Store, StoreError, disk, log};

impl Store {
    pub(super) fn slots_dir(&self) -> PathBuf {
        self.root.join("slots")
    }

    pub(super) fn receiving_dir(&self) -> PathBuf {
        self.root.join("receiving")
    }

    /// The file that holds the whole state: whoever watches it sees every change.
    #[must_use]
    pub fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn log_path(&self) -> PathBuf {
        self.root.join("log.jsonl")
    }

    /// Where a bundle of this hash lies, or would.
    #[must_use]
    pub fn slot(&self, sha256: &str) -> Slot {
        Slot { sha256: sha256.into(), path: self.slots_dir().join(format!("{sha256}.zalb")) }
    }

    /// A bundle of the store by its hash or the first digits of it.
    ///
    /// # Errors
    /// When there is none, or several begin so.
    pub fn find(&self, digits: &str) -> Result<Slot, StoreError> {
        let mut found = self.slots()?.into_iter().filter(|slot| slot.sha256.starts_with(digits));
        match (found.next(), found.next()) {
            (Some(slot), None) if !digits.is_empty() => Ok(slot),
            _ => Err(StoreError::NoSlot { sha256: digits.into() }),
        }
    }

    /// All bundles of the store, the newest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn slots(&self) -> Result<Vec<Slot>, StoreError> {
        let folder = self.slots_dir();
        let io = |source| StoreError::Io { path: folder.clone(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(sha256) = name.strip_suffix(".zalb") {
                let age = path.metadata().and_then(|meta| meta.modified()).ok();
                found.push((age, Slot { sha256: sha256.into(), path }));
            }
        }
        found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.sha256.cmp(&b.1.sha256)));
        Ok(found.into_iter().map(|(_, slot)| slot).collect())
    }

    pub(super) fn check_slot(&self, sha256: &str) -> Result<(), StoreError> {
        if self.slot(sha256).path.is_file() {
            return Ok(());
        }
        Err(StoreError::NoSlot { sha256: sha256.into() })
    }

    /// Gives a received file its slot.
    pub(super) fn keep(&mut self, received: &Received) -> Result<Slot, StoreError> {
        let slot = self.slot(&received.sha256);
        if received.path != slot.path {
            self.disk.rename(&received.path, &slot.path)?;
        }
        Ok(slot)
    }

    /// Removes what interrupted copies left.
    pub(super) fn empty_receiving(&mut self) -> Result<(), StoreError> {
        let folder = self.receiving_dir();
        let io = |source| StoreError::Io { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            self.disk.remove(&path)?;
        }
        Ok(())
    }

    /// Hash of the factory bundle.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn factory(&self) -> Result<Option<String>, StoreError> {
        let path = self.root.join("factory");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|sha256| !sha256.is_empty())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { path, source }),
        }
    }

    /// Held while the index changes, by one process at a time.
    pub(super) fn lock(&self) -> Result<File, StoreError> {
        let path = self.root.join("lock");
        let file = disk::lock_file(&path)?;
        file.lock().map_err(|source| StoreError::Io { path, source })?;
        Ok(file)
    }

    /// Changes the index and says so in the log, which names a bundle and words.
    pub(super) fn change(
        &mut self,
        now_utc: &str,
        event: &str,
        change: impl FnOnce(&mut Index) -> Result<(String, String), StoreError>,
    ) -> Result<(), StoreError> {
        let mut said = (String::new(), String::new());
        self.change_quietly(|index| {
            said = change(index)?;
            Ok(())
        })?;
        self.note(now_utc, event, &said.0, &said.1)
    }

    /// Changes the index.
    pub(super) fn change_quietly(
        &mut self,
        change: impl FnOnce(&mut Index) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        change(&mut index)?;
        self.disk.put(&self.index_path(), index::text(&index).as_bytes())
    }

    /// Adds a line to the log. A line that a power cut cut off stays for itself.
    pub(super) fn note(
        &mut self,
        now_utc: &str,
        event: &str,
        bundle: &str,
        words: &str,
    ) -> Result<(), StoreError> {
        let [ts, event, bundle, words] = [now_utc, event, bundle, words].map(str::to_owned);
        let line = serde_json::to_string(&LogLine { ts, event, bundle, words }).expect("plain data");
        let path = self.log_path();
        if !path.exists() {
            self.disk.put(&path, b"")?;
        }
        let opened = File::options().create(true).append(true).open(&path);
        let mut file = opened.map_err(|source| StoreError::Io { path: path.clone(), source })?;
        disk::hand_over(&path);
        let torn = last_byte(&path).is_some_and(|byte| byte != b'\n');
        let text = format!("{}{line}\n", if torn { "\n" } else { "" });
        self.disk.append(&mut file, &path, text.as_bytes())?;
        self.disk.sync(&file, &path)
    }

    /// What happened, oldest first.
    ///
    /// # Errors
    /// When the log is there but cannot be read.
    pub fn log(&self) -> Result<Vec<LogLine>, StoreError> {
        let path = self.log_path();
        match fs::read(&path) {
            Ok(bytes) => Ok(log::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(StoreError::Io { path, source }),
        }
    }

    /// Sets a damaged index aside and ends a test that nobody finished.
    pub(super) fn mend(&mut self, now_utc: &str) -> Result<(), StoreError> {
        let path = self.index_path();
        if let index::Read::Damaged(why) = index::read(&path)? {
            let _lock = self.lock()?;
            let aside = self.root.join(format!("index.damaged-{}", self.log()?.len()));
            self.disk.rename(&path, &aside)?;
            self.note(now_utc, "set_aside", "", &format!("{}: {why}", aside.display()))?;
        }
        let Phase::Testing { candidate } = self.index()?.phase else { return Ok(()) };
        // An installer that is still at work holds its lock.
        let Ok(_installer) = self.installer() else { return Ok(()) };
        let setback = Setback::new(SetbackCode::Interrupted, "the test was interrupted; install it again");
        let slot = self.slot(&candidate);
        self.fail(&slot, &setback, now_utc)
    }

    /// The bundle in charge, or when its file is damaged the next best.
    pub(super) fn first_whole(&mut self, index: &Index, now_utc: &str) -> Result<Slot, StoreError> {
        let wanted = [index.current.clone(), index.previous.clone(), self.factory()?];
        for sha256 in wanted.iter().flatten().filter(|sha256| index.allows(sha256)) {
            let slot = self.slot(sha256);
            if hash_of(&slot.path).is_some_and(|found| found == *sha256) {
                if index.current.as_ref() != Some(sha256) {
                    self.take_over(sha256, now_utc)?;
                }
                return Ok(slot);
            }
        }
        Err(StoreError::Empty { path: self.root.clone() })
    }

    fn take_over(&mut self, sha256: &str, now_utc: &str) -> Result<(), StoreError> {
        self.change(now_utc, "rolled_back", |index| {
            let from = index.current.replace(sha256.to_owned()).unwrap_or_default();
            let setback =
                Setback::new(SetbackCode::Damaged, format!("the file of {from} is damaged or gone"));
            index.previous = index.previous.take().filter(|previous| previous != sha256);
            index.phase = Phase::RolledBack { from, setback: setback.clone() };
            Ok((sha256.to_owned(), setback.to_string()))
        })
    }
}

/// The last byte of a file; none when it is empty or cannot be read.
fn last_byte(path: &Path) -> Option<u8> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::End(-1)).ok()?;
    let mut byte = [0];
    file.read_exact(&mut byte).ok()?;
    Some(byte[0])
}
