//! What in `incoming/` wakes the intake: only what may bring or change a scan.
//!
//! The system also tells when the folder is opened and listed. A look at the spool that woke
//! the intake would be followed by the next look, without end.

use std::path::Path;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Calls `wake` on changes until the watcher is dropped.
///
/// # Errors
/// When the system does not watch the folder; then the slow look remains.
pub(super) fn watch(incoming: &Path, wake: impl Fn() + Send + 'static) -> notify::Result<RecommendedWatcher> {
    // What the system cannot tell, the slow look finds.
    let on_event = move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| may_bring_a_scan(event.kind)) {
            wake();
        }
    };
    let mut watcher = notify::recommended_watcher(on_event)?;
    watcher.watch(incoming, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Created, renamed, written or removed; not opened, nor closed after reading.
const fn may_bring_a_scan(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        // `Other` says that events were lost.
        EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Any
        | EventKind::Other => true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;
    use std::time::Duration;

    use notify::event::{CreateKind, DataChange, ModifyKind, RemoveKind, RenameMode};

    use super::*;

    #[test]
    fn only_what_may_bring_a_scan_wakes() {
        let wakes = [
            EventKind::Create(CreateKind::File),
            EventKind::Modify(ModifyKind::Name(RenameMode::To)),
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            EventKind::Remove(RemoveKind::File),
            EventKind::Other,
        ];
        let sleeps = [
            EventKind::Access(AccessKind::Open(AccessMode::Any)),
            EventKind::Access(AccessKind::Close(AccessMode::Read)),
            EventKind::Access(AccessKind::Read),
        ];
        assert!(wakes.into_iter().all(may_bring_a_scan));
        assert!(!sleeps.into_iter().any(may_bring_a_scan));
    }

    #[test]
    fn looking_at_the_spool_wakes_nobody_and_a_scan_wakes_once() {
        let folder = tempfile::tempdir().unwrap();
        let spool = super::super::Spool::open(folder.path()).unwrap();
        fs::write(spool.incoming.join("lies-there.npy"), "here before").unwrap();
        let (tx, wakes) = mpsc::channel();
        let _watcher = watch(&spool.incoming, move || tx.send(()).unwrap()).unwrap();
        for _ in 0..20 {
            assert_eq!(spool.waiting().unwrap().len(), 1);
            fs::read(spool.incoming.join("lies-there.npy")).unwrap();
            std::thread::sleep(Duration::from_millis(50));
        }
        // Events come in their order: what the looks brought is there before this.
        fs::write(folder.path().join("new.npy"), "finished").unwrap();
        fs::rename(folder.path().join("new.npy"), spool.incoming.join("new.npy")).unwrap();
        wakes.recv_timeout(Duration::from_secs(60)).expect("the scan wakes");
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(wakes.try_iter().count(), 0, "only the rename woke");
    }
}
