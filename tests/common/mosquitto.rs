//! Debian's mosquitto as a test's own process, on a free port, in its own folder.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::line::wait_for;

/// A mosquitto; killed when the test lets go of it.
pub struct Mosquitto {
    folder: tempfile::TempDir,
    address: SocketAddr,
    program: PathBuf,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts one whose configuration is a listener and `more`. None, with a line on stderr,
    /// where there is no mosquitto.
    pub fn start(more: &str) -> Option<Self> {
        Self::start_with(more, |_| {})
    }

    /// As [`Mosquitto::start`], with files written into its folder first; `{dir}` in `more` is
    /// that folder.
    pub fn start_with(more: &str, prepare: impl FnOnce(&Path)) -> Option<Self> {
        let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto", "/usr/local/sbin/mosquitto"];
        let Some(program) = program.map(PathBuf::from).into_iter().find(|path| path.exists()) else {
            eprintln!("skipped: there is no mosquitto (Debian: apt-get install mosquitto)");
            return None;
        };
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        // Under root it would become another user, who must still read this folder.
        let user = if fs::metadata("/proc/self").is_ok_and(|m| is_root(&m)) { "user root\n" } else { "" };
        let dir = folder.path().display();
        let text = format!(
            "{user}listener {} 127.0.0.1\npersistence_location {dir}/\nmax_queued_messages 100000\n{}\n",
            address.port(),
            more.replace("{dir}", &dir.to_string())
        );
        fs::write(folder.path().join("mosquitto.conf"), text).unwrap();
        let mut broker = Self { folder, address, program, child: None };
        broker.run();
        Some(broker)
    }

    /// Starts it again after a kill.
    pub fn run(&mut self) {
        let log = fs::File::options().append(true).create(true).open(self.path("log")).unwrap();
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(self.path("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let address = self.address;
        assert!(wait_for(|| TcpStream::connect(address).is_ok()), "mosquitto says: {}", self.log());
    }

    /// As a power cut: nothing is saved.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

fn is_root(meta: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(meta) == 0
}
