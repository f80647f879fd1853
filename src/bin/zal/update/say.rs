//! How far an installation is: a bar on a terminal, lines elsewhere, and a small file in the store that
//! the daemon shows on `/update`.
//!
//! The file says which process wrote it, so that one left by a killed installer is not believed.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::message::UpdateState;

/// A bar changes at most so often.
const REDRAW_INTERVAL: Duration = Duration::from_millis(200);
/// Columns of the bar.
const BAR_LEN: u64 = 30;

/// What an installation is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Process that installs.
    pub pid: u32,
    /// Where the update stands.
    pub state: UpdateState,
    /// What is being done, in words.
    pub stage: String,
    /// Bytes or steps done.
    pub done: u64,
    /// Bytes or steps in all; 0 when nobody knows.
    pub total: u64,
}

/// Where progress of a store is told.
pub fn path_in(store: &Path) -> PathBuf {
    store.join("progress.json")
}

/// The progress of an installation that runs.
pub fn read(store: &Path) -> Option<Progress> {
    let bytes = fs::read(path_in(store)).ok()?;
    let progress: Progress = serde_json::from_slice(&bytes).ok()?;
    Path::new(&format!("/proc/{}", progress.pid)).exists().then_some(progress)
}

/// Tells how far it is.
pub struct Say {
    quiet: bool,
    bar: bool,
    file: Option<PathBuf>,
    last: Option<(UpdateState, String)>,
    drawn: Instant,
    open_line: bool,
}

impl Say {
    /// Speaks on stderr unless it is to be quiet, and into the store's file.
    pub fn new(quiet: bool, store: Option<&Path>) -> Self {
        let bar = !quiet && std::io::stderr().is_terminal();
        Self { quiet, bar, file: store.map(path_in), last: None, drawn: Instant::now(), open_line: false }
    }

    /// A line of its own.
    pub fn line(&mut self, text: &str) {
        self.end_line();
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Says how far a stage is; `total` 0 when nobody knows.
    pub fn progress(&mut self, state: UpdateState, stage: &str, done: u64, total: u64) {
        let is_new = self.last.as_ref().is_none_or(|(s, words)| *s != state || words != stage);
        let is_done = total > 0 && done >= total;
        if !is_new && !is_done && self.drawn.elapsed() < REDRAW_INTERVAL {
            return;
        }
        self.drawn = Instant::now();
        if is_new {
            self.end_line();
            self.last = Some((state, stage.to_owned()));
        }
        self.write_file(state, stage, done, total);
        if self.bar {
            eprint!("\r\x1b[K{}", bar_text(stage, done, total));
            let _ = std::io::stderr().flush();
            self.open_line = true;
        } else if is_new && !self.quiet {
            eprintln!("{stage} ...");
        }
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.open_line) {
            eprintln!();
        }
    }

    /// Progress is for people: that it cannot be written stops nothing.
    fn write_file(&self, state: UpdateState, stage: &str, done: u64, total: u64) {
        let Some(path) = &self.file else { return };
        let progress = Progress { pid: std::process::id(), state, stage: stage.into(), done, total };
        let unfinished = path.with_extension("json.new");
        let text = serde_json::to_vec(&progress).unwrap_or_default();
        let _ = fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, path));
    }
}

impl Drop for Say {
    fn drop(&mut self) {
        self.end_line();
        if let Some(path) = &self.file {
            let _ = fs::remove_file(path);
        }
    }
}

fn bar_text(stage: &str, done: u64, total: u64) -> String {
    if total == 0 {
        return format!("{stage:<24} ...");
    }
    let filled = BAR_LEN * done.min(total) / total;
    let bar: String = (0..BAR_LEN).map(|at| if at < filled { '#' } else { '.' }).collect();
    let percent = 100 * done.min(total) / total;
    format!("{stage:<24} [{bar}] {percent:>3} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_when_all_is_done_and_not_before() {
        assert_eq!(
            bar_text("copying", 0, 10),
            format!("copying                  [{}]   0 %", ".".repeat(30))
        );
        assert_eq!(
            bar_text("copying", 10, 10),
            format!("copying                  [{}] 100 %", "#".repeat(30))
        );
        assert!(bar_text("copying", 9, 10).contains('.') && bar_text("x", 5, 0).ends_with("..."));
    }

    #[test]
    fn progress_is_seen_while_its_process_lives_and_gone_at_the_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut say = Say::new(true, Some(folder.path()));
        say.progress(UpdateState::Receiving, "copying", 1, 10);
        let seen = read(folder.path()).expect("this process lives");
        assert_eq!((seen.state, seen.done, seen.total), (UpdateState::Receiving, 1, 10));
        let text = fs::read_to_string(path_in(folder.path())).expect("written");
        // No process has this number: the kernel's largest is smaller.
        let dead = text.replace(&format!("\"pid\":{}", std::process::id()), "\"pid\":4294967295");
        fs::write(path_in(folder.path()), dead).expect("writable");
        assert_eq!(read(folder.path()), None);
        drop(say);
        assert!(!path_in(folder.path()).exists());
    }
}
