//! How far an evaluation is and how long it still takes: a bar on a terminal, lines elsewhere.
//!
//! The time left follows from the groups that were computed in this run; those that were there
//! already take none. The first groups fill the caches, so that it is rather too long at first.

use std::cell::Cell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::study::Event;
use crate::study::timing::words;

/// Groups of an evaluation.
#[derive(Debug)]
pub struct GroupProgress {
    bar: ProgressBar,
    start: Instant,
    done: Cell<u32>,
    computed: Cell<u32>,
    count: u32,
}

impl GroupProgress {
    /// Shows that nothing is done yet.
    #[must_use]
    pub fn new(count: u32) -> Self {
        let bar = ProgressBar::new(u64::from(count));
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} groups, {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_secs(1));
        Self { bar, start: Instant::now(), done: Cell::new(0), computed: Cell::new(0), count }
    }

    /// Shows what happened.
    pub fn tell(&self, event: &Event<'_>) {
        if let Event::Group(_, _, kept) = event {
            self.computed.set(self.computed.get() + u32::from(!kept));
        }
        if matches!(event, Event::Group(..) | Event::Failed(_)) {
            self.done.set(self.done.get() + 1);
            self.bar.inc(1);
        }
        let left = self.left().map(|left| format!("about {} left", words(left)));
        let message =
            [left.unwrap_or_default(), event.to_string()].join(if self.left().is_some() { ": " } else { "" });
        if self.bar.is_hidden() {
            eprintln!("{}/{} groups, {message}", self.done.get(), self.count);
        } else if matches!(event, Event::Failed(_)) {
            self.bar.println(message);
        } else {
            self.bar.set_message(message);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn left(&self) -> Option<Duration> {
        left(self.start.elapsed(), self.computed.get(), self.count.saturating_sub(self.done.get()))
    }
}

/// The time that the remaining groups take when each takes as long as those that were computed.
fn left(elapsed: Duration, computed: u32, remaining: u32) -> Option<Duration> {
    (computed > 0).then(|| elapsed / computed * remaining)
}

/// Scans that are looked at before the work.
#[derive(Debug)]
pub struct ScanProgress(ProgressBar);

impl ScanProgress {
    /// Says which data set is looked at.
    #[must_use]
    pub fn new(what: &str) -> Self {
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{msg}: {pos} scans, {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        if bar.is_hidden() {
            eprintln!("{what}");
        }
        Self(bar)
    }

    /// One more scan.
    pub fn tick(&self) {
        self.0.inc(1);
    }

    /// Takes the bar away and says what was seen.
    pub fn finish(&self) {
        let (count, elapsed) = (self.0.position(), words(self.0.elapsed()));
        let hidden = self.0.is_hidden();
        self.0.finish_and_clear();
        if hidden {
            eprintln!("  {count} scans in {elapsed}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_counts_what_was_computed() {
        let second = Duration::from_secs(1);
        assert_eq!(left(10 * second, 0, 5), None);
        assert_eq!(left(10 * second, 2, 5), Some(25 * second));
        assert_eq!(left(10 * second, 2, 0), Some(Duration::ZERO));
    }
}
