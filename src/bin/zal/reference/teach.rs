//! Carrying out what people say of parts: between two scans, in the order in which it was said, each noted
//! in the journal with who and when.

use anyhow::{Context as _, anyhow, bail};
use tracing::{info, warn};
use zal::detector::references::Source;

use super::requests::{Answer, Request, Verb};
use super::{Line, Shelf};

impl Line {
    /// Carries out the requests that wait.
    pub(super) fn carry_out(&mut self) {
        let Some(requests) = self.requests.clone() else { return };
        let waiting = match requests.waiting() {
            Ok(waiting) => waiting,
            Err(error) => return warn!(%error, "requests cannot be read"),
        };
        for open in waiting {
            let answer = match &open.request {
                Ok(request) => self.answer(request),
                Err(reason) => Answer { done: false, text: format!("the request is none: {reason}") },
            };
            info!(done = answer.done, text = answer.text, "a request of a person");
            if let Err(error) = requests.answer(&open, &answer) {
                return warn!(%error, "a request cannot be answered; it is carried out again");
            }
        }
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let at = self.shelf(&request.recipe);
        let outcome = match request.verb {
            Verb::AnchorAdd => self.add_anchor(at, request),
            Verb::AnchorRemove => self.take_out(at, request, Some(Source::Anchor)),
            Verb::NotOk => self.take_out(at, request, None),
            Verb::Withdraw => self.withdraw(at, request),
            Verb::AcceptDrift => {
                self.shelves[at].references.accept_drift();
                Ok("drift is measured from the present levels on".to_owned())
            }
        };
        let (done, text) = match outcome {
            Ok(text) => (true, text),
            Err(error) => (false, format!("{error:#}")),
        };
        if done {
            self.save(at, &[]);
            self.watch(at);
        }
        let verb = serde_json::to_value(request.verb).ok();
        let verb = verb.and_then(|verb| verb.as_str().map(str::to_owned)).unwrap_or_default();
        let Request { who, at, recipe, name, result_id, .. } = request;
        let part = result_id.as_deref().unwrap_or(name);
        let refused = if done { "" } else { "refused: " };
        self.note(&verb, &format!("{refused}{part} of recipe {recipe} by {who} at {at}: {text}"));
        Answer { done, text }
    }

    fn add_anchor(&mut self, at: usize, request: &Request) -> anyhow::Result<String> {
        let path = request.scan.clone().or_else(|| self.spool.kept_scan(&request.name));
        let path = path.with_context(|| {
            format!("the scan of {} is not kept in done/ any more: name its file instead", request.name)
        })?;
        let scan = zal::scan::read(&path, &self.profile)?;
        let references = &self.shelves[at].references;
        let confirmed = self.detector.confirm(&scan, &request.name, references);
        let confirmed = confirmed.map_err(|reason| anyhow!("{}: {}", reason.code, reason.text))?;
        self.shelves[at].references.anchor(confirmed.candidate, confirmed.bank)?;
        Ok(format!("{} is an anchor; {}", request.name, self.words(at)))
    }

    /// Takes a reference out of the set; its file is kept for bringing it back.
    fn take_out(&mut self, at: usize, request: &Request, wanted: Option<Source>) -> anyhow::Result<String> {
        let name = &request.name;
        let Shelf { references, store, .. } = &mut self.shelves[at];
        let found = references.member(name).map(|member| member.source);
        if found.is_none() && wanted.is_none() {
            return Ok(format!("{name} is not in the set (any more); {}", self.words(at)));
        }
        if found.is_none_or(|source| wanted.is_some_and(|wanted| wanted != source)) {
            let anchors = references.members().iter().filter(|m| m.source == Source::Anchor);
            let anchors: Vec<&str> = anchors.map(|m| m.name.as_str()).collect();
            bail!("there is no anchor {name}; there are: {}", anchors.join(", "));
        }
        references.remove(name)?;
        if let Some(store) = store {
            store.remove(name)?;
        }
        Ok(format!("{name} is taken out; {}", self.words(at)))
    }

    /// Takes back what was said of a part: one that was taken out comes in again, one that became an
    /// anchor goes.
    fn withdraw(&mut self, at: usize, request: &Request) -> anyhow::Result<String> {
        let name = &request.name;
        let Shelf { references, store, .. } = &mut self.shelves[at];
        if references.member(name).is_some_and(|member| member.source == Source::Anchor) {
            return self.take_out(at, request, Some(Source::Anchor));
        }
        let store = store.as_mut().context("the set is only in memory: nothing of it was kept")?;
        let stored = store.removed(name)?;
        let stored = stored.with_context(|| format!("nothing is kept of {name} that could come back"))?;
        references.put_back(stored)?;
        store.save(references, &[])?;
        store.forget_removed(name)?;
        Ok(format!("{name} is back; {}", self.words(at)))
    }

    fn words(&self, at: usize) -> String {
        let references = &self.shelves[at].references;
        let counts = format!(
            "{} anchors, {} scans of the line",
            references.count(Source::Anchor),
            references.count(Source::Buffer)
        );
        match (references.missing(), references.limit()) {
            (Some(missing), _) => format!("{counts}; {missing}"),
            (None, Some(limit)) => {
                format!("{counts}; {}", zal::detector::references::rate_words(&limit.calibration))
            }
            (None, None) => counts,
        }
    }
}
