//! Disks that are full, read-only or failing: verdicts still come out, alarms are raised, the
//! order by seq is kept, and everything is in its place once the disk is well again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::fake_broker::{Answer, FakeBroker};
use crate::scans;
use crate::station::{Settings, Station, has_program, wait_for};

/// A small disk of its own.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one; none, with a line that says so, without the right to.
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mut command = Command::new("mount");
        let status = command
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        if status.is_ok_and(|status| status.success()) {
            return Some(Self { folder });
        }
        eprintln!("skipped: a disk can only be mounted by root");
        None
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills it to the last byte; gives the file that does.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [65_536, 4_096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// Makes system calls of a running daemon fail, until dropped.
struct Failing {
    strace: Child,
}

impl Failing {
    /// `calls` fail with `error` on `paths`, or everywhere.
    fn attach(id: u32, calls: &str, error: &str, paths: &[PathBuf], log: &Path) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-p", &id.to_string(), "-o"]).arg(log);
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:error={error}")]);
        for path in paths {
            command.arg("-P").arg(path);
        }
        let strace = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{id}/status");
        let is_traced = || fs::read_to_string(&status).is_ok_and(|text| !text.contains("TracerPid:\t0"));
        assert!(wait_for(is_traced), "strace cannot attach");
        Self { strace }
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // SIGINT detaches; SIGKILL might leave the daemon stopped.
        let _ = Command::new("kill").args(["-INT", &self.strace.id().to_string()]).status();
        let _ = self.strace.wait();
    }
}

/// Seqs in the order in which they were first heard. A confirmation that the disk did not take
/// costs a second publish.
fn first_heard(broker: &FakeBroker) -> Vec<u64> {
    let mut seqs = Vec::new();
    for result in broker.on("result") {
        if !seqs.contains(&result.seq()) {
            seqs.push(result.seq());
        }
    }
    seqs
}

/// The results so far must be in order and without gaps, one a part.
fn check_results(broker: &FakeBroker, count: usize) {
    let expected: Vec<u64> = (1..=u64::try_from(count).unwrap()).collect();
    assert_eq!(first_heard(broker), expected, "in order, none missing");
    let parts: BTreeSet<_> = broker.on("result").iter().map(|r| r.json()["part_id"].to_string()).collect();
    assert_eq!(parts.len(), count, "one result a part");
}

fn hand_in(station: &Station, range: std::ops::RangeInclusive<usize>) {
    for index in range {
        station.hand_in(&format!("p{index:03}.npy"), &scans::quick());
    }
}

/// After the disk is well again: everything moved, the journal complete, seq going on.
fn check_recovery(station: &Station, broker: &FakeBroker, daemon: crate::station::Running, count: usize) {
    station.wait_for("scans leaving work/ and incoming/", || {
        station.names("work").is_empty() && station.names("incoming").is_empty()
    });
    assert_eq!(daemon.terminate(), Some(0));
    let daemon = station.start();
    hand_in(station, count + 1..=count + 1);
    station.wait_for("one more result", || first_heard(broker).len() > count);
    assert_eq!(daemon.terminate(), Some(0));
    check_results(broker, count + 1);
    let report: serde_json::Value = serde_json::from_str(&station.zal(&["report", "--json"])).unwrap();
    assert_eq!((&report["part_count"], &report["missing_seq_count"]), (&(count + 1).into(), &0.into()));
    assert_eq!(report["only_in_memory_count"], 0);
}

#[test]
fn a_full_journal_disk_does_not_silence_the_line() {
    let Some(disk) = SmallDisk::mount("1m") else { return };
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let station = Station::new(Settings {
        broker: broker.url(),
        journal: Some(disk.path().into()),
        ..Settings::default()
    });
    let daemon = station.start();
    hand_in(&station, 1..=5);
    station.wait_for("five results", || broker.on("result").len() == 5);
    let filler = disk.fill();
    hand_in(&station, 6..=60);
    station.wait_for("sixty results", || broker.on("result").len() == 60);
    check_results(&broker, 60);
    assert!(station.log().contains("journal_failing"), "an alarm: {}", station.log());
    assert!(!station.names("work").is_empty(), "a scan stays until its result is on disk");
    fs::remove_file(filler).unwrap();
    check_recovery(&station, &broker, daemon, 60);
    assert!(station.log().contains("alarm cleared"));
}

#[test]
fn results_in_memory_outlive_a_kill_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount("1m") else { return };
    let broker =
        FakeBroker::start(|topic| if topic.ends_with("result") { Answer::Withhold } else { Answer::Confirm });
    let station = Station::new(Settings {
        broker: broker.url(),
        journal: Some(disk.path().into()),
        ..Settings::default()
    });
    let daemon = station.start();
    hand_in(&station, 1..=3);
    station.wait_for("three scans settled", || station.names("done").len() + station.names("bad").len() >= 3);
    let filler = disk.fill();
    hand_in(&station, 4..=9);
    station.wait_for("nine results", || broker.on("result").len() == 9);
    daemon.kill();
    fs::remove_file(filler).unwrap();
    broker.set_rule(|_| Answer::Confirm);
    let daemon = station.start();
    station.wait_for("all results again", || broker.on("result").len() >= 18);
    station.wait_for("scans leaving work/", || station.names("work").is_empty());
    assert_eq!(daemon.terminate(), Some(0));
    let again: Vec<_> =
        broker.on("result").into_iter().filter(|p| p.connection > 1).map(|p| p.seq()).collect();
    assert_eq!(again, (1..=9).collect::<Vec<u64>>(), "the same seqs, in order, once");
}

#[test]
fn scans_that_cannot_be_claimed_on_a_full_disk_are_judged_where_they_lie() {
    let Some(disk) = SmallDisk::mount("1m") else { return };
    let broker = FakeBroker::start(|_| Answer::Confirm);
    // The writers' disk has room, the spool's has not.
    let writers = tempfile::tempdir().unwrap();
    symlink(writers.path(), disk.path().join("incoming")).unwrap();
    let station = Station::new(Settings {
        broker: broker.url(),
        spool: Some(disk.path().into()),
        ..Settings::default()
    });
    let daemon = station.start();
    hand_in(&station, 1..=5);
    station.wait_for("five results", || broker.on("result").len() == 5);
    let filler = disk.fill();
    hand_in(&station, 6..=25);
    station.wait_for("25 results", || broker.on("result").len() == 25);
    check_results(&broker, 25);
    assert!(station.log().contains("intake_failing"), "an alarm: {}", station.log());
    fs::remove_file(filler).unwrap();
    check_recovery(&station, &broker, daemon, 25);
}

#[test]
fn a_spool_that_turns_read_only_does_not_silence_the_line() {
    if !has_program("strace") {
        return;
    }
    let broker = FakeBroker::start(|_| Answer::Confirm);
    let station = Station::new(Settings { broker: broker.url(), ..Settings::default() });
    let daemon = station.start();
    hand_in(&station, 1..=3);
    station.wait_for("three results", || broker.on("result").len() == 3);
    let calls = "mkdir,mkdirat,rename,renameat,renameat2,rmdir,unlink,unlinkat";
    let failing = Failing::attach(daemon.id(), calls, "EROFS", &[], &station.path("strace"));
    hand_in(&station, 4..=12);
    station.wait_for("twelve results", || broker.on("result").len() == 12);
    assert!(station.log().contains("intake_failing"), "an alarm: {}", station.log());
    drop(failing);
    check_recovery(&station, &broker, daemon, 12);
}

#[test]
fn a_journal_whose_writes_fail_does_not_silence_the_line() {
    if !has_program("strace") {
        return;
    }
    for (calls, error) in [("pwrite64", "EIO"), ("fdatasync,fsync", "EIO"), ("pwrite64", "EROFS")] {
        let broker = FakeBroker::start(|_| Answer::Confirm);
        let station = Station::new(Settings { broker: broker.url(), ..Settings::default() });
        let daemon = station.start();
        hand_in(&station, 1..=3);
        station.wait_for("three results", || broker.on("result").len() == 3);
        let journal = station.journal().to_str().unwrap();
        let paths = ["", "-wal", "-shm", ".seq"].map(|suffix| PathBuf::from(format!("{journal}{suffix}")));
        let failing = Failing::attach(daemon.id(), calls, error, &paths, &station.path("strace"));
        hand_in(&station, 4..=12);
        station.wait_for("twelve results", || broker.on("result").len() == 12);
        let injected = fs::read_to_string(station.path("strace")).unwrap_or_default();
        assert!(injected.contains("INJECTED"), "{calls} {error}: nothing failed");
        assert!(station.log().contains("journal_failing"), "{calls} {error}: {}", station.log());
        drop(failing);
        check_recovery(&station, &broker, daemon, 12);
    }
}
