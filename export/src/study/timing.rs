//! Where a study's time and memory go, for `timing.txt`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Calls and time of every stage, over all threads.
#[derive(Debug, Default)]
pub struct Times(Mutex<BTreeMap<&'static str, (u32, Duration)>>);

impl Times {
    /// Does the work and adds its time to the stage.
    pub fn measure<R>(&self, stage: &'static str, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = work();
        let elapsed = start.elapsed();
        let mut stages = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (count, total) = stages.entry(stage).or_default();
        *count += 1;
        *total += elapsed;
        result
    }

    /// Adds the stages of another list.
    pub fn add(&self, other: &Self) {
        let lock = |times: &Self| times.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let others = lock(other);
        let mut stages = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (stage, (count, total)) in others {
            let (calls, time) = stages.entry(stage).or_default();
            *calls += count;
            *time += total;
        }
    }

    /// One line a stage: calls, seconds of all threads together, milliseconds a call.
    #[must_use]
    pub fn text(&self) -> String {
        let stages = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut text = String::from("stage         calls   seconds   ms a call\n");
        for (stage, (count, total)) in stages.iter() {
            let (seconds, ms) = (total.as_secs_f64(), total.as_secs_f64() * 1e3 / f64::from(*count));
            let _ = writeln!(text, "{stage:<12} {count:>6} {seconds:>9.2} {ms:>11.2}");
        }
        text
    }
}

/// Most memory that this process held, MB, where the system says it.
#[must_use]
pub fn peak_memory_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024)
}

/// A time as people say it.
#[must_use]
pub fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_add_up_and_times_are_said_as_people_say_them() {
        let (one, other) = (Times::default(), Times::default());
        assert_eq!((one.measure("a", || 3), other.measure("a", || 4), other.measure("b", || 5)), (3, 4, 5));
        one.add(&other);
        let text = one.text();
        let calls = |stage: &str| {
            let line = text.lines().find(|line| line.starts_with(stage)).expect("the stage is there");
            line.split_whitespace().nth(1).expect("a count").to_owned()
        };
        assert_eq!((calls("a "), calls("b ")), ("2".to_owned(), "1".to_owned()));
        let said = [5, 65, 3605, 90_000].map(|s| words(Duration::from_secs(s)));
        assert_eq!(said, ["5 s", "1 min 05 s", "1 h 00 min", "25 h 00 min"]);
    }
}
