//! A device with a bundle store: a folder with configuration, keys and spool, `zal model` and `zal run`.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::bundles;
use super::line::Line;
use super::running::Running;

/// A device whose factory bundle is `light-1.0`, signed with the plant's key.
pub struct Device {
    pub line: Line,
}

/// How `zal model` ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    /// What it said as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Device {
    /// Makes the folder; `more` is added to `[update]`.
    pub fn new(broker: &str, more: &str) -> Self {
        let line = Line::new(broker, "");
        let text = fs::read_to_string(line.path("zal.toml")).unwrap();
        let named = text.lines().find(|l| l.starts_with("bundle = ")).unwrap();
        let update = format!(
            "[update]\ndir = \"state/models\"\nfactory = \"factory.zalb\"\ntrial_parts = 4\n{more}\n[engine]"
        );
        let text = text.replace(named, "").replace("selftest = false", "selftest = true");
        fs::write(line.path("zal.toml"), text.replace("[engine]", &update)).unwrap();
        fs::create_dir_all(line.path("state/keys/revoked")).unwrap();
        fs::write(line.path("state/keys/plant.pub"), bundles::plant_public()).unwrap();
        fs::write(line.path("factory.zalb"), bundles::light().release()).unwrap();
        Self { line }
    }

    /// Writes a bundle beside the store, as on a stick.
    pub fn stick(&self, name: &str, bytes: &[u8]) -> String {
        let path = bundles::write(&self.line.path(""), name, bytes);
        path.display().to_string()
    }

    fn command(&self, args: &[&str]) -> Command {
        self.command_with("zal.toml", args)
    }

    fn command_with(&self, config: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zal"));
        command.arg("model").args(args).arg("--config").arg(self.line.path(config));
        command.env("ZAL_STATE_DIR", self.line.path("state"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `zal model` to its end.
    pub fn model(&self, args: &[&str]) -> Said {
        self.model_with("zal.toml", args)
    }

    /// As [`Device::model`], with another configuration of the folder.
    pub fn model_with(&self, config: &str, args: &[&str]) -> Said {
        let output = self.command_with(config, args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Starts `zal model` as the head of a process group of its own.
    pub fn start_model(&self, args: &[&str]) -> Child {
        use std::os::unix::process::CommandExt as _;
        let mut command = self.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.spawn().unwrap()
    }

    /// Starts the daemon.
    pub fn start(&self) -> Running {
        let state = self.line.path("state");
        self.line.start_with(|command| {
            command.env("ZAL_STATE_DIR", state);
        })
    }

    /// Hands in a good part.
    pub fn hand_in(&self, name: &str, seed: u64) {
        let hidden = self.line.spool("incoming").join(format!(".{name}"));
        fs::write(&hidden, bundles::scan(200, seed)).unwrap();
        fs::rename(hidden, self.line.spool("incoming").join(name)).unwrap();
    }

    /// What `zal model status` says.
    pub fn status(&self) -> Value {
        self.model(&["status", "--json"]).json()
    }

    /// Where the update stands.
    pub fn state(&self) -> String {
        self.status()["state"].as_str().unwrap().to_owned()
    }

    /// Name of the bundle in charge.
    pub fn current(&self) -> String {
        self.status()["current"]["name"].as_str().unwrap_or_default().to_owned()
    }

    /// A file of the store.
    pub fn store(&self, name: &str) -> PathBuf {
        self.line.path("state/models").join(name)
    }

    /// Whether every slot holds what its name says; how many there are.
    pub fn whole_slots(&self) -> usize {
        let mut count = 0;
        for entry in fs::read_dir(self.store("slots")).unwrap() {
            let path = entry.unwrap().path();
            let sum: String =
                Sha256::digest(fs::read(&path).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(path.file_stem().unwrap().to_str().unwrap(), sum, "a slot is not whole");
            count += 1;
        }
        count
    }

    /// Index and slots, to be compared.
    pub fn fingerprint(&self) -> (String, Vec<String>, usize) {
        let index = fs::read_to_string(self.store("index.json")).unwrap();
        let names = |folder: &str| -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(self.store(folder))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        (index, names("slots"), names("receiving").len())
    }
}
