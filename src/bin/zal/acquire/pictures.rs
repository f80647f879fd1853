//! Colour images that lie in `incoming/` without a scan.
//!
//! A picture may come before its `.tiff` and, with `spool.picture_wait_ms`, shortly after it.
//! One whose scan does not come within ten minutes, or was judged without it, is moved to
//! `bad/` with a reason: it is no part, so it gets no result, but it is not forgotten either.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use tracing::warn;

use super::{Spool, has_extension, is_picture, is_unfinished, sanitized, stem_of, transfer};

/// How long a picture may lie alone.
const ALONE_MAX: Duration = Duration::from_secs(600);
/// How often they are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// When each picture was first seen alone.
#[derive(Debug, Default)]
pub(super) struct LonePictures {
    seen: HashMap<String, Instant>,
    looked: Option<Instant>,
}

impl LonePictures {
    /// Looks through the spool, now and then, and moves away what has lain alone for too long.
    pub(super) fn sweep(&mut self, spool: &Spool, now: Instant) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK_INTERVAL) {
            return;
        }
        self.looked = Some(now);
        // A spool that cannot be listed is told by the intake.
        let Ok(alone) = alone(spool) else { return };
        self.seen.retain(|name, _| alone.contains(name));
        for name in alone {
            let since = *self.seen.entry(name.clone()).or_insert(now);
            if now.duration_since(since) < ALONE_MAX {
                continue;
            }
            match set_aside(spool, &name) {
                Ok(()) => warn!(name, "a picture without a scan was moved to bad/"),
                Err(error) => warn!(name, %error, "a picture without a scan cannot be moved"),
            }
        }
    }
}

/// The pictures without a waiting scan of the same name.
fn alone(spool: &Spool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(&spool.incoming)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && entry.file_type()?.is_file()
            && !is_unfinished(&name)
        {
            names.push(name);
        }
    }
    let scans: Vec<&str> =
        names.iter().filter(|name| has_extension(name, &["tif", "tiff"])).map(|name| stem_of(name)).collect();
    let lone = |name: &&String| is_picture(name) && !scans.contains(&stem_of(name));
    Ok(names.iter().filter(lone).cloned().collect())
}

fn set_aside(spool: &Spool, name: &str) -> io::Result<()> {
    let free =
        |count: &u32| !spool.bad.join(format!("picture-{count}-{}.png", sanitized(stem_of(name)))).exists();
    let count = (0..).find(free).unwrap_or_default();
    let kept = format!("picture-{count}-{}.png", sanitized(stem_of(name)));
    let reason = format!(
        "picture_alone: {name} lay {} s in incoming/ without {}.tiff, or its scan was judged before it came; \
         write the picture first, or set spool.picture_wait_ms\n",
        ALONE_MAX.as_secs(),
        stem_of(name)
    );
    fs::write(spool.bad.join(format!("{kept}.reason.txt")), reason)?;
    transfer::take(&spool.incoming.join(name), &spool.bad.join(kept))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_picture_that_stays_alone_is_set_aside_with_its_reason_and_a_pair_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path()).unwrap();
        for name in ["a.png", "b.png", "b.tiff", ".c.png"] {
            fs::write(spool.incoming.join(name), name).unwrap();
        }
        let mut pictures = LonePictures::default();
        let start = Instant::now();
        pictures.sweep(&spool, start);
        pictures.sweep(&spool, start + ALONE_MAX - Duration::from_secs(1));
        assert!(spool.incoming.join("a.png").exists(), "its scan may still come");
        pictures.sweep(&spool, start + ALONE_MAX + LOOK_INTERVAL);
        let names = |path: &Path| fs::read_dir(path).unwrap().count();
        assert_eq!((names(&spool.incoming), names(&spool.bad)), (3, 2));
        let reason = fs::read_to_string(spool.bad.join("picture-0-a.png.reason.txt")).unwrap();
        assert!(reason.starts_with("picture_alone: a.png lay 600 s in incoming/ without a.tiff"), "{reason}");
    }
}
