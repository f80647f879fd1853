//! The same work on many items, by several threads that each own what the work needs.
//!
//! The library's kernels use rayon's current pool. Every worker is the only thread of its own pool, so
//! a scan is worked on by one thread alone, and no worker takes up a second scan while it waits for a
//! kernel of the first: an engine is never borrowed twice.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};

/// Works on all items with `jobs` threads; `make` makes what a thread owns. The results are in the
/// items' order. After a failure no new item is begun.
///
/// # Errors
/// The failure of the first item, in their order, that failed.
pub fn map<T: Sync, R: Send, W>(
    items: &[T],
    jobs: usize,
    make: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, &T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let worker = || -> Result<Vec<(usize, Result<R>)>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().context("cannot start a thread")?;
        Ok(pool.install(|| {
            let mut owned = make();
            let mut done = Vec::new();
            while !failed.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(index) else { break };
                let result = work(&mut owned, item);
                failed.fetch_or(result.is_err(), Ordering::Relaxed);
                done.push((index, result));
            }
            done
        }))
    };
    let mut done = Vec::new();
    std::thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..jobs.clamp(1, items.len().max(1))).map(|_| scope.spawn(worker)).collect();
        for thread in threads {
            let results = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            done.extend(results?);
        }
        Ok(())
    })?;
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<u32> = (0..100).collect();
        let work = |seen: &mut u32, item: &u32| {
            *seen += 1;
            Ok(item * 2)
        };
        for jobs in [1, 3, 200] {
            let found = map(&items, jobs, || 0, work).expect("nothing fails");
            assert_eq!(found, (0..100).map(|i| i * 2).collect::<Vec<_>>());
        }
        assert!(map(&[], 4, || 0, work).expect("nothing to do").is_empty());
    }

    #[test]
    fn a_failure_ends_the_work() {
        let begun = AtomicUsize::new(0);
        let work = |(): &mut (), item: &usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            anyhow::ensure!(*item != 5, "item {item}");
            Ok(())
        };
        let items: Vec<usize> = (0..10_000).collect();
        let error = map(&items, 2, || (), work).expect_err("the fifth fails");
        assert_eq!(error.to_string(), "item 5");
        assert!(begun.load(Ordering::Relaxed) < 10_000);
    }
}
