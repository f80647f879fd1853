//! A production line in a temporary folder: configuration, spool, and the real `zal run`.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing in these tests takes this long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Base of the topics of the test device.
pub const BASE: &str = "zal/v1/s/a/l/c/d";

/// A folder with a configuration.
pub struct Line {
    folder: tempfile::TempDir,
}

impl Line {
    /// Configures a device for a broker; `more` is added to the configuration.
    pub fn new(broker: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[device]\nsite = \"s\"\narea = \"a\"\nline = \"l\"\ncell = \"c\"\ndevice = \"d\"\n\
             [spool]\ndir = \"spool\"\npoll_interval_ms = 200\n\
             [detector]\nbundle = {:?}\nselftest = false\n[journal]\npath = \"journal.db\"\n\
             [engine]\nchoice = \"tract\"\n\
             [http]\nenabled = false\n[mqtt]\nurl = {broker:?}\nkeep_alive_s = 5\n{more}\n",
            bundle(folder.path())
        );
        fs::write(folder.path().join("zal.toml"), text).unwrap();
        let line = Self { folder };
        fs::create_dir_all(line.spool("incoming")).unwrap();
        line
    }

    /// A path of this line.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder of the spool.
    pub fn spool(&self, name: &str) -> PathBuf {
        self.path("spool").join(name)
    }

    /// Hands in one scan as a writer should: under a hidden name first, then renamed.
    pub fn hand_in(&self, name: &str) {
        let hidden = self.spool("incoming").join(format!(".{name}"));
        fs::write(&hidden, flat_scan()).unwrap();
        fs::rename(hidden, self.spool("incoming").join(name)).unwrap();
    }

    /// Starts the daemon.
    pub fn start(&self) -> Running {
        self.start_with(|_| {})
    }

    /// Starts the daemon with more said to its command.
    pub fn start_with(&self, prepare: impl FnOnce(&mut Command)) -> Running {
        let log = fs::File::options().append(true).create(true).open(self.path("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_zal"));
        command.args(["run", "-c"]).arg(self.path("zal.toml")).stderr(log);
        prepare(&mut command);
        Running { child: command.spawn().unwrap() }
    }

    /// Names in a folder of the spool.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.spool(folder)).into_iter().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Scans that have left `work/`, each with its result committed.
    pub fn settled_count(&self) -> usize {
        let reasons = |name: &&String| !name.ends_with(".reason.txt");
        self.names("done").len() + self.names("bad").iter().filter(reasons).count()
    }

    /// What the daemon logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits for a condition.
    pub fn wait_for(&self, what: &str, condition: impl FnMut() -> bool) {
        assert!(wait_for(condition), "{what} did not happen; the daemon said:\n{}", self.log());
    }
}

/// A running daemon; killed when the test lets go of it.
pub struct Running {
    child: Child,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// As a power cut: nothing is finished.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal, such as `HUP`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// SIGTERM, and its exit code.
    pub fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the daemon does not stop");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `zal` to its end: exit code, stdout, stderr.
pub fn zal(args: &[&str]) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_zal"))
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (child.wait().unwrap().code(), out, err)
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

/// The repository's demo bundle.
fn bundle(folder: &Path) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo.zalb");
    if path.exists() {
        return path;
    }
    let stand_in = folder.join("stand-in.zalb");
    fs::write(&stand_in, b"").unwrap();
    stand_in
}

/// A `.npy` of a flat table without a part: quickly read, quickly answered `not_decidable`.
fn flat_scan() -> Vec<u8> {
    let mut header = "{'descr': '<f4', 'fortran_order': False, 'shape': (32, 32, 3), }".to_owned();
    header.push_str(&" ".repeat(128 - 11 - header.len()));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    for index in 0..32_u8 {
        for column in 0..32_u8 {
            let point = [f32::from(column) * 1e-3, f32::from(index) * 1e-3, 0.5];
            bytes.extend(point.iter().flat_map(|c| c.to_le_bytes()));
        }
    }
    bytes
}
