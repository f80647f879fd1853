//! Where a study's time goes, for `timing.txt`.

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

    /// One line a stage: calls, seconds of all threads together, milliseconds a call.
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
