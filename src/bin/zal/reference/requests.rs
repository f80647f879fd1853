//! What people say of parts, on its way to the detector: one small file a request, so that the tool, MQTT
//! and the daemon need not run at the same time.
//!
//! ```text
//! {dir}/requests/{time}-{id}.json           asked for; the daemon carries it out between two scans
//! {dir}/requests/{time}-{id}.answer.json    what became of it; whoever asked takes it away
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::store::write_whole;

/// Answers that nobody fetched are removed beyond this many.
const ANSWERS_MAX: usize = 100;
/// How often an answer is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// The part is good: it becomes an anchor.
    AnchorAdd,
    /// It is no anchor any more.
    AnchorRemove,
    /// The part is not good: it leaves the set.
    NotOk,
    /// What was said of the part is withdrawn.
    Withdraw,
    /// The present levels are right: drift is measured from here.
    AcceptDrift,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What is asked for.
    pub verb: Verb,
    /// Recipe of the part.
    pub recipe: String,
    /// Name of the reference: the claim of a judged part, or what a file is called.
    pub name: String,
    /// The scan's file, when it does not lie in `done/` under that name.
    pub scan: Option<PathBuf>,
    /// Result that was judged by a person.
    pub result_id: Option<String>,
    /// Who asks.
    pub who: String,
    /// UTC.
    pub at: String,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Whether it was done.
    pub done: bool,
    /// What was done, or why not.
    pub text: String,
}

/// The folder of requests.
#[derive(Debug, Clone)]
pub struct Requests {
    dir: PathBuf,
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    path: PathBuf,
    /// The request, or why the file is none.
    pub request: Result<Request, String>,
}

impl Requests {
    /// Opens the folder below that of the sets, and makes it when there is none.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(root: &Path) -> io::Result<Self> {
        let dir = root.join("requests");
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Hands a request in; gives its place for [`Requests::wait`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn hand_in(&self, request: &Request) -> io::Result<PathBuf> {
        let time: String = request.at.chars().filter(char::is_ascii_alphanumeric).collect();
        let random = random_name();
        let path = self.dir.join(format!("{time}-{random}.json"));
        write_whole(&path, &serde_json::to_vec_pretty(request).map_err(io::Error::other)?)?;
        Ok(path)
    }

    /// Waits for the answer to a request; none when there is none within the time.
    pub fn wait(&self, path: &Path, timeout: Duration) -> Option<Answer> {
        let answer = path.with_extension("answer.json");
        let start = Instant::now();
        loop {
            let read = fs::read(&answer).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if read.is_some() {
                let _ = fs::remove_file(&answer);
                return read;
            }
            if start.elapsed() > timeout {
                return None;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// The requests that wait, in their order.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn waiting(&self) -> io::Result<Vec<Open>> {
        let names = self.names(|name| name.ends_with(".json") && !name.ends_with(".answer.json"))?;
        let read = |name: String| {
            let path = self.dir.join(name);
            let bytes = fs::read(&path).map_err(|error| error.to_string());
            let request = bytes.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|e| e.to_string()));
            Open { path, request }
        };
        Ok(names.into_iter().map(read).collect())
    }

    /// Answers a request and takes it away.
    ///
    /// # Errors
    /// When that cannot be written; the request then stays, and is carried out again.
    pub fn answer(&self, open: &Open, answer: &Answer) -> io::Result<()> {
        write_whole(
            &open.path.with_extension("answer.json"),
            &serde_json::to_vec(answer).map_err(io::Error::other)?,
        )?;
        fs::remove_file(&open.path)?;
        let answers = self.names(|name| name.ends_with(".answer.json"))?;
        let surplus = answers.len().saturating_sub(ANSWERS_MAX);
        answers.iter().take(surplus).try_for_each(|name| fs::remove_file(self.dir.join(name)))
    }

    fn names(&self, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.dir)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = entries.filter(|name| !name.starts_with('.') && wanted(name)).collect();
        names.sort();
        Ok(names)
    }
}

/// A name that no other request has.
fn random_name() -> String {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish();
    format!("{random:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, at: &str) -> Request {
        Request {
            verb: Verb::AnchorAdd,
            recipe: "r".into(),
            name: name.into(),
            scan: None,
            result_id: None,
            who: "me".into(),
            at: at.into(),
        }
    }

    #[test]
    fn requests_are_taken_in_order_and_answered_once() {
        let folder = tempfile::tempdir().unwrap();
        let requests = Requests::open(folder.path()).unwrap();
        let second = requests.hand_in(&request("b", "2026-01-02T00:00:00Z")).unwrap();
        let first = requests.hand_in(&request("a", "2026-01-01T00:00:00Z")).unwrap();
        fs::write(folder.path().join("requests/0-broken.json"), "{").unwrap();
        let waiting = requests.waiting().unwrap();
        assert!(waiting[0].request.is_err());
        let names: Vec<_> = waiting[1..].iter().map(|open| open.request.clone().unwrap().name).collect();
        assert_eq!(names, ["a", "b"]);
        let answer = Answer { done: true, text: "done".into() };
        waiting.iter().for_each(|open| requests.answer(open, &answer).unwrap());
        assert_eq!(requests.waiting().unwrap(), []);
        assert_eq!(requests.wait(&first, Duration::ZERO), Some(answer.clone()));
        assert_eq!(requests.wait(&first, Duration::ZERO), None, "it was taken away");
        assert_eq!(requests.wait(&second, Duration::ZERO), Some(answer));
    }
}
