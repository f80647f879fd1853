//! A histogram of durations, as Prometheus counts them.

use std::time::Duration;

/// Upper bounds of the buckets, in milliseconds; one more has none.
pub const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000];

/// How many durations fell below each bound, their number and their sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    below: [u64; BOUNDS_MS.len()],
    count: u64,
    sum: Duration,
}

impl Histogram {
    /// Counts one duration.
    pub fn note(&mut self, duration: Duration) {
        self.count += 1;
        self.sum = self.sum.saturating_add(duration);
        for (bound_ms, below) in BOUNDS_MS.iter().zip(&mut self.below) {
            if duration <= Duration::from_millis(*bound_ms) {
                *below += 1;
            }
        }
    }

    /// The lines of this histogram: (suffix, `le`, value).
    pub fn samples(&self) -> Vec<(&'static str, Option<String>, String)> {
        let bounds = BOUNDS_MS.iter().map(|ms| Duration::from_millis(*ms).as_secs_f64().to_string());
        let mut samples: Vec<_> = bounds
            .zip(&self.below)
            .map(|(bound, below)| ("_bucket", Some(bound), below.to_string()))
            .collect();
        samples.push(("_bucket", Some("+Inf".into()), self.count.to_string()));
        samples.push(("_sum", None, self.sum.as_secs_f64().to_string()));
        samples.push(("_count", None, self.count.to_string()));
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::default();
        for ms in [25, 26, 60_000] {
            histogram.note(Duration::from_millis(ms));
        }
        let samples = histogram.samples();
        let at = |le: &str| samples.iter().find(|s| s.1.as_deref() == Some(le)).map(|s| s.2.as_str());
        assert_eq!(
            [at("0.01"), at("0.025"), at("0.05"), at("10"), at("+Inf")].map(Option::unwrap),
            ["0", "1", "2", "2", "3"]
        );
        assert_eq!(samples[samples.len() - 2].2, "60.051");
    }
}
