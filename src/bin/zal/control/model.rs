//! The commands `model_*`: `zal model` as a child process, so that the detector in use goes on judging
//! and a bundle that crashes or hangs harms nobody. What the technician's tool refuses is refused here.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde_json::Value;

use crate::exit::Exit;
use crate::message::RequestBody;

/// What can be asked of the bundle store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelVerb {
    /// Install a bundle from a path on the device or an address.
    Install {
        /// The path or address.
        source: String,
        /// Whether a person has to confirm it.
        manual_confirm: bool,
    },
    /// What judges now is wanted.
    Confirm,
    /// The bundle before is wanted.
    Rollback,
}

impl ModelVerb {
    /// Reads a request.
    ///
    /// # Errors
    /// In words, when a value makes no sense for the verb.
    pub(super) fn of(verb: &str, body: &RequestBody) -> Result<Self, String> {
        let source = match (&body.path, &body.url) {
            (None, None) => None,
            (Some(path), None) if path.starts_with('/') => Some(path.clone()),
            (Some(path), None) => return Err(format!("`path` is {path:?}, expected an absolute path")),
            (None, Some(url)) if url.starts_with("http://") || url.starts_with("https://") => {
                Some(url.clone())
            }
            (None, Some(url)) => return Err(format!("`url` is {url:?}, expected http:// or https://")),
            (Some(_), Some(_)) => return Err("`path` and `url` are given, expected one of them".into()),
        };
        let manual_confirm = body.manual_confirm.unwrap_or_default();
        match (verb, source) {
            ("model_install", Some(source)) => Ok(Self::Install { source, manual_confirm }),
            ("model_install", None) => Err("`model_install` needs `path` or `url` of a .zalb file".into()),
            (_, Some(_)) => Err(format!("`path` and `url` mean nothing to `{verb}`")),
            ("model_confirm", None) => Ok(Self::Confirm),
            (_, None) => Ok(Self::Rollback),
        }
    }

    fn args(&self) -> Vec<String> {
        match self {
            Self::Install { source, manual_confirm } => {
                let mut args = vec!["install".to_owned(), "--json".to_owned()];
                args.extend(manual_confirm.then(|| "--manual-confirm".to_owned()));
                // What comes after it is never taken for an option.
                args.extend(["--".to_owned(), source.clone()]);
                args
            }
            Self::Confirm => vec!["confirm".to_owned(), "--json".to_owned()],
            Self::Rollback => vec!["rollback".to_owned(), "--json".to_owned()],
        }
    }
}

/// How `zal model` is run for this daemon.
#[derive(Debug, Clone)]
pub struct ModelTool {
    /// The daemon's configuration.
    pub config: PathBuf,
}

/// How a command ended.
#[derive(Debug)]
pub struct ModelEnd {
    /// Whether the tool ended with 0.
    pub done: bool,
    /// What it said in words.
    pub text: String,
    /// What it said as JSON, with its exit code.
    pub data: serde_json::Map<String, Value>,
}

impl ModelTool {
    /// Runs a command to its end. The tool bounds its own time.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn run(&self, verb: &ModelVerb) -> anyhow::Result<ModelEnd> {
        let program = std::env::current_exe().context("cannot find the program itself")?;
        let mut command = Command::new(program);
        let (name, rest) =
            verb.args().split_first().map(|(n, r)| (n.clone(), r.to_vec())).unwrap_or_default();
        command.args(["model", &name, "--config"]).arg(&self.config).args(rest);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.output().context("cannot run zal model")?;
        let code = output.status.code();
        let said: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        let mut data = said.and_then(|said| said.as_object().cloned()).unwrap_or_default();
        let words = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        let text = match data.remove("text").and_then(|text| text.as_str().map(str::to_owned)) {
            Some(text) => text,
            None if words.is_empty() => format!("zal model {name} ended with {code:?}"),
            None => words,
        };
        data.insert("exit_code".into(), code.into());
        Ok(ModelEnd { done: code == Some(i32::from(Exit::Ok as u8)), text, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str) -> RequestBody {
        serde_json::from_str(json).expect("a request")
    }

    #[test]
    fn an_install_names_one_absolute_path_or_one_address() {
        let install = |json| ModelVerb::of("model_install", &body(json));
        let path = install(r#"{"request_id": "a", "path": "/media/stick/b.zalb"}"#).expect("a path");
        assert_eq!(path.args(), ["install", "--json", "--", "/media/stick/b.zalb"]);
        let url = install(r#"{"request_id": "a", "url": "https://p/b.zalb", "manual_confirm": true}"#);
        assert_eq!(
            url.expect("a url").args(),
            ["install", "--json", "--manual-confirm", "--", "https://p/b.zalb"]
        );
        for wrong in [
            r#"{"request_id": "a"}"#,
            r#"{"request_id": "a", "path": "b.zalb"}"#,
            r#"{"request_id": "a", "path": "--allow-development-key"}"#,
            r#"{"request_id": "a", "url": "file:///etc/passwd"}"#,
            r#"{"request_id": "a", "path": "/b", "url": "http://p/b"}"#,
        ] {
            let refused = install(wrong).expect_err(wrong);
            assert!(refused.contains("expected") || refused.contains("needs"), "{refused}");
        }
        let with_path = body(r#"{"request_id": "a", "path": "/b"}"#);
        assert!(ModelVerb::of("model_rollback", &with_path).is_err());
        assert_eq!(ModelVerb::of("model_confirm", &body(r#"{"request_id": "a"}"#)), Ok(ModelVerb::Confirm));
    }
}
