//! A device under attack: its folders, possibly on different disks, and the real `zal run`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Nothing in these tests takes this long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Base of the topics of the test device.
pub const BASE: &str = "zal/v1/s/a/l/c/d";

/// Whether the long forms are asked for.
pub fn is_long() -> bool {
    std::env::var_os("ZAL_LONG").is_some()
}

/// Where things lie, and further keys of the configuration.
#[derive(Default)]
pub struct Settings<'a> {
    pub broker: &'a str,
    /// Folder of the spool; in the station's own folder unless stated.
    pub spool: Option<PathBuf>,
    /// Folder of the journal.
    pub journal: Option<PathBuf>,
    /// Lines below `[spool]` and `[deadline]`.
    pub spool_keys: &'a str,
    pub deadline_keys: &'a str,
}

/// A configured device.
pub struct Station {
    folder: tempfile::TempDir,
    spool: PathBuf,
    journal: PathBuf,
}

impl Station {
    pub fn new(settings: Settings<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spool = settings.spool.unwrap_or_else(|| folder.path().join("spool"));
        let journal = settings.journal.unwrap_or_else(|| folder.path().into()).join("journal.db");
        let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo.zalb");
        let text = format!(
            "[device]\nsite = \"s\"\narea = \"a\"\nline = \"l\"\ncell = \"c\"\ndevice = \"d\"\n\
             [spool]\ndir = {spool:?}\npoll_interval_ms = 100\n{}\n\
             [detector]\nbundle = {bundle:?}\nselftest = false\n[journal]\npath = {journal:?}\n\
             [deadline]\n{}\n[engine]\nchoice = \"tract\"\n[http]\nenabled = false\n\
             [mqtt]\nurl = {:?}\nkeep_alive_s = 30\n",
            settings.spool_keys, settings.deadline_keys, settings.broker
        );
        fs::write(folder.path().join("zal.toml"), text).unwrap();
        let station = Self { folder, spool, journal };
        fs::create_dir_all(station.spool("incoming")).unwrap();
        station
    }

    /// A path in the station's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder of the spool.
    pub fn spool(&self, name: &str) -> PathBuf {
        self.spool.join(name)
    }

    /// The journal's file.
    pub fn journal(&self) -> &Path {
        &self.journal
    }

    /// Hands in a scan as a writer should: under a hidden name first, then renamed.
    pub fn hand_in(&self, name: &str, bytes: &[u8]) {
        let incoming = self.spool("incoming");
        let hidden = incoming.join(format!(".{name}"));
        fs::write(&hidden, bytes).unwrap();
        fs::rename(hidden, incoming.join(name)).unwrap();
    }

    /// Starts the daemon.
    pub fn start(&self) -> Running {
        self.start_with(&[])
    }

    /// Starts the daemon with variables of the environment.
    pub fn start_with(&self, environment: &[(&str, &str)]) -> Running {
        let log = fs::File::options().append(true).create(true).open(self.path("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_zal"));
        command.args(["run", "-c"]).arg(self.path("zal.toml")).env("NO_COLOR", "1").stderr(log);
        command.envs(environment.iter().copied());
        Running { child: command.spawn().unwrap() }
    }

    /// Runs another command of `zal` on this configuration; its standard output.
    pub fn zal(&self, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zal"));
        let output = command.args(args).arg("-c").arg(self.path("zal.toml")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Names in a folder of the spool.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.spool(folder)).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }

    /// What the daemon logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits for a condition.
    pub fn wait_for(&self, what: &str, condition: impl FnMut() -> bool) {
        let log = self.log();
        let tail = log.len().saturating_sub(4_000);
        assert!(
            wait_for(condition),
            "{what} did not happen; the daemon said:\n{}",
            self.log().get(tail..).unwrap_or(&log)
        );
    }
}

/// A running daemon; killed when the test lets go of it.
pub struct Running {
    child: Child,
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: nothing is finished.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let mut code = None;
        assert!(wait_for(|| self.child.try_wait().unwrap().is_some_and(|status| {
            code = status.code();
            true
        })));
        code
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a condition holds.
pub fn wait_for(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Whether a program can be run; says so when it cannot.
pub fn has_program(name: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).exists()))
        || Path::new("/usr/sbin").join(name).exists();
    if !found {
        eprintln!("skipped: {name} is not installed (Debian's package {name})");
    }
    found
}
