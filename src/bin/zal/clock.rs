//! The monotonic clock that the program lends the library for its stage times.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Time since the program first asked.
pub fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
