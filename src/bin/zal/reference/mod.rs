//! The line judged against itself: a reference set for every recipe, kept on disk, and what people say of
//! parts.
//!
//! ```text
//! scan -> judge (against the recipe's set) -> answer on its way -> admit, save, watch, requests
//! ```
//!
//! Nothing that is not needed for the verdict is done before it is on its way. A recipe that was never seen
//! begins a set of its own, in warm-up; sets are never mixed. When their disk takes nothing, sets go on in
//! memory, with an alarm.

mod requests;
mod store;
mod teach;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use tracing::{info, warn};
use zal::calibration::Calibration;
use zal::detector::references::{Admission, ReferenceRules, References, Source, WarningCode};
use zal::detector::{Detection, Detector, Entrant};
use zal::scan::{Scan, SensorProfile};

use crate::acquire::{Claim, Spool};
use crate::alarms::{AlarmCode, Alarms};
use crate::journal::Journal;
use crate::message::CalibrationBody;
use crate::worker::Judge;
pub use requests::{Answer, Request, Requests, Verb};
pub use store::{Store, write_whole};

/// What a line is made of.
pub struct Line {
    /// The detector.
    pub detector: Detector,
    /// Which recipe a part is made by.
    pub recipes: RecipeRule,
    /// Folder of the sets.
    pub root: PathBuf,
    /// Rules of every set.
    pub rules: ReferenceRules,
    /// Sets in memory at a time.
    pub sets_max: usize,
    /// Bundle, mode and engine: descriptors of others are not comparable.
    pub made_with: String,
    /// Where judged scans lie.
    pub spool: Spool,
    /// What the sensor's files mean.
    pub profile: SensorProfile,
    /// Notes what people did; none in tests without one.
    pub events: Option<Journal>,
    /// Conditions to act on.
    pub alarms: Alarms,
    /// Requests of people; none when their folder cannot be used.
    pub requests: Option<Requests>,
    /// The sets in memory, the one used last at the end.
    pub shelves: Vec<Shelf>,
    /// The scan that was judged last and is not admitted yet.
    pub pending: Option<(String, Box<Entrant>)>,
}

/// A set in memory, and its folder unless that cannot be used.
pub struct Shelf {
    recipe: String,
    references: References,
    store: Option<Store>,
}

/// Where a part's recipe comes from.
#[derive(Debug, Clone, Default)]
pub struct RecipeRule {
    /// The recipe of parts whose name says none.
    pub default: String,
    /// What parts recipe and part in a name, if anything does.
    pub separator: Option<String>,
}

impl RecipeRule {
    /// The recipe of a part.
    pub fn of<'a>(&'a self, part_id: &'a str) -> &'a str {
        let named = self.separator.as_deref().and_then(|separator| part_id.split_once(separator));
        named.map(|(recipe, _)| recipe).filter(|recipe| !recipe.is_empty()).unwrap_or(&self.default)
    }
}

impl Judge for Line {
    fn judge(&mut self, claim: &Claim, scan: &Scan, _: Option<&Calibration>) -> Detection {
        let recipe = self.recipes.of(&claim.part_id).to_owned();
        let at = self.shelf(&recipe);
        let references = &self.shelves[at].references;
        let sighting = self.detector.detect_against(scan, &claim.id, references);
        self.pending = sighting.entrant.map(|entrant| (recipe, entrant));
        sighting.detection
    }

    fn after(&mut self) {
        if let Some((recipe, entrant)) = self.pending.take() {
            self.admit(&recipe, *entrant);
        }
        self.carry_out();
    }

    fn idle(&mut self) {
        self.carry_out();
    }

    fn calibration(&mut self) -> Option<CalibrationBody> {
        let at = match self.shelves.len().checked_sub(1) {
            Some(last) => last,
            None => self.shelf(&self.recipes.default.clone()),
        };
        let references = &self.shelves[at].references;
        let promised = references.limit().map(|limit| limit.calibration.promised_rate());
        let warm = references.missing().is_none();
        Some(CalibrationBody {
            threshold: references.threshold().filter(|_| warm),
            have_count: references.count(Source::Buffer),
            need_count: self.rules.scans_min,
            promised_rate: promised.filter(|_| warm),
        })
    }
}

impl Line {
    /// The place of a recipe's set, the last; read from disk when it is not in memory.
    fn shelf(&mut self, recipe: &str) -> usize {
        if let Some(at) = self.shelves.iter().position(|shelf| shelf.recipe == recipe) {
            let shelf = self.shelves.remove(at);
            self.shelves.push(shelf);
        } else {
            let shelf = self.open(recipe);
            self.shelves.push(shelf);
            let surplus = self.shelves.len().saturating_sub(self.sets_max);
            // What leaves memory is on disk: every change was written when it was made.
            self.shelves.drain(..surplus);
            self.watch(self.shelves.len() - 1);
        }
        self.shelves.len() - 1
    }

    fn open(&self, recipe: &str) -> Shelf {
        let empty = || {
            References::new(self.rules, self.detector.params()).expect("the configuration asks for mode line")
        };
        let opened = Store::open(&self.root, recipe, &self.made_with)
            .and_then(|store| Ok((store.load(self.rules, self.detector.params())?, store)));
        let (references, store) = match opened {
            Ok((loaded, store)) => {
                let (references, damaged) = loaded
                    .map_or_else(|| (empty(), Vec::new()), |loaded| (loaded.references, loaded.damaged));
                self.note_damage(recipe, &damaged);
                (references, Some(store))
            }
            Err(error) => {
                let text = format!("recipe {recipe}: its reference set is only in memory: {error}");
                self.alarms.raise(AlarmCode::ReferenceFailing, text);
                (empty(), None)
            }
        };
        let (anchors, buffer) = (references.count(Source::Anchor), references.count(Source::Buffer));
        let missing = references.missing().map(|missing| missing.to_string());
        info!(recipe, anchors, buffer, missing, "reference set");
        Shelf { recipe: recipe.into(), references, store }
    }

    fn note_damage(&self, recipe: &str, damaged: &[String]) {
        if damaged.is_empty() {
            return;
        }
        let text = format!(
            "recipe {recipe}: {} references are damaged and set aside: {}",
            damaged.len(),
            damaged.join("; ")
        );
        self.note("reference_damaged", &text);
        self.alarms.raise(AlarmCode::ReferenceDamaged, text);
    }

    /// Takes a judged scan into its set.
    fn admit(&mut self, recipe: &str, entrant: Entrant) {
        let at = self.shelf(recipe);
        let Entrant { candidate, look, judgement } = entrant;
        let name = candidate.name.clone();
        match self.shelves[at].references.admit(candidate, &look, &judgement) {
            Ok(Admission::Taken { evicted }) => self.save(at, &evicted),
            Ok(Admission::Duplicate { .. } | Admission::Known) => {}
            Err(error) => warn!(%error, name, "the scan does not enter the reference set"),
        }
        self.watch(at);
    }

    /// Writes what has changed in a set.
    fn save(&mut self, at: usize, left: &[String]) {
        let Shelf { recipe, references, store } = &mut self.shelves[at];
        let Some(store) = store else { return };
        match store.save(references, left) {
            Ok(()) => self.alarms.clear(AlarmCode::ReferenceFailing),
            Err(error) => {
                let text = format!("recipe {recipe}: its reference set cannot be written: {error}");
                self.alarms.raise(AlarmCode::ReferenceFailing, text);
            }
        }
    }

    /// Raises or clears the alarms of the set in use.
    fn watch(&self, at: usize) {
        let shelf = &self.shelves[at];
        let warnings = shelf.references.warnings();
        for (warning, alarm) in [
            (WarningCode::Poisoned, AlarmCode::ReferencePoisoned),
            (WarningCode::Drift, AlarmCode::ReferenceDrift),
            (WarningCode::Standstill, AlarmCode::LineStandstill),
        ] {
            match warnings.iter().find(|found| found.code == warning) {
                Some(found) => self.alarms.raise(alarm, format!("recipe {}: {}", shelf.recipe, found.text)),
                None => self.alarms.clear(alarm),
            }
        }
    }

    /// Notes an event in the journal.
    fn note(&self, code: &str, text: &str) {
        let noted =
            self.events.as_ref().map(|journal| journal.note_event(&crate::telemetry::utc_now(), code, text));
        if let Some(Err(error)) = noted {
            warn!(%error, code, text, "an event is not noted");
        }
    }
}
