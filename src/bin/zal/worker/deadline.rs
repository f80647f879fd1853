//! The deadline of each part: answered at the latest when it is due, whoever is still at it.
//!
//! Neither a network nor a slow disk can be interrupted. So a thread of its own answers
//! `not_decidable{deadline}` when a part is due, and whoever finishes the part later finds it
//! answered and lets the verdict go. Every part has exactly one answer: the one who removes
//! it from the list gives it.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zal::detector::Reason;

use super::Judged;
use crate::acquire::Claim;

/// How often the list is looked through.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// The parts that are claimed and not answered; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Deadlines {
    limit: Option<Duration>,
    open: Arc<Mutex<HashMap<String, Open>>>,
}

/// A part that is not answered.
#[derive(Debug)]
struct Open {
    claim: Claim,
    seen: Instant,
}

impl Deadlines {
    /// With a limit per part; zero for none.
    pub fn new(limit: Duration) -> Self {
        Self { limit: (!limit.is_zero()).then_some(limit), open: Arc::default() }
    }

    /// The limit, when there is one.
    pub const fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Takes a part on the list.
    pub fn watch(&self, claim: &Claim, seen: Instant) {
        if self.limit.is_some() {
            self.lock().insert(claim.id.clone(), Open { claim: claim.clone(), seen });
        }
    }

    /// Whether nobody has answered the part yet.
    pub fn is_open(&self, claim: &Claim) -> bool {
        self.limit.is_none() || self.lock().contains_key(&claim.id)
    }

    /// Takes a part off the list; false when it has been answered already.
    pub fn finish(&self, claim: &Claim) -> bool {
        self.limit.is_none() || self.lock().remove(&claim.id).is_some()
    }

    /// The reason given to a part that is not judged in time.
    pub fn reason(&self, waited: Duration) -> Reason {
        let limit = self.limit.unwrap_or_default();
        Reason {
            code: "deadline".into(),
            text: format!(
                "no verdict {} ms after the scan was seen, {} ms are allowed",
                waited.as_millis(),
                limit.as_millis()
            ),
        }
    }

    /// Answers what is due until `ended` says that the detector thread has ended.
    pub fn run(self, answers: &SyncSender<Judged>, ended: &Receiver<()>) {
        if self.limit.is_none() {
            // Nothing is sent; it returns when the detector thread ends.
            let _ = ended.recv();
            return;
        }
        while ended.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            for (claim, waited) in self.take_due(Instant::now()) {
                let reason = self.reason(waited);
                if answers.send(Judged::unjudged(claim, reason, waited)).is_err() {
                    return;
                }
            }
        }
    }

    /// Takes what is due off the list, the longest waiting first.
    fn take_due(&self, now: Instant) -> Vec<(Claim, Duration)> {
        let Some(limit) = self.limit else { return Vec::new() };
        let mut open = self.lock();
        let due = open.extract_if(|_, part| now.duration_since(part.seen) >= limit);
        let mut due: Vec<_> = due.map(|(_, part)| (part.claim, now.duration_since(part.seen))).collect();
        due.sort_by_key(|(_, waited)| std::cmp::Reverse(*waited));
        due
    }

    /// A thread that panicked while it held the list has left it whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(id: &str) -> Claim {
        Claim { id: id.into(), part_id: id.into(), scan_path: id.into(), tries: 0, in_place: None }
    }

    #[test]
    fn a_part_is_answered_once_by_whoever_is_first() {
        let deadlines = Deadlines::new(Duration::from_secs(5));
        let seen = Instant::now();
        deadlines.watch(&claim("b"), seen + Duration::from_secs(1));
        deadlines.watch(&claim("a"), seen);
        deadlines.watch(&claim("fast"), seen);
        assert!(deadlines.finish(&claim("fast")) && !deadlines.finish(&claim("fast")));
        assert!(deadlines.take_due(seen + Duration::from_secs(4)).is_empty());
        let due: Vec<_> =
            deadlines.take_due(seen + Duration::from_secs(6)).into_iter().map(|d| d.0.id).collect();
        assert_eq!(due, ["a", "b"]);
        assert!(!deadlines.is_open(&claim("a")) && !deadlines.finish(&claim("a")), "too late");
    }

    #[test]
    fn without_a_limit_everything_may_be_answered() {
        let deadlines = Deadlines::new(Duration::ZERO);
        deadlines.watch(&claim("a"), Instant::now());
        assert!(deadlines.is_open(&claim("a")) && deadlines.finish(&claim("a")));
    }
}
