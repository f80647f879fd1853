//! Opens a data set and goes past what is wrong in it: everything is found at once, before any work.
//!
//! A flaw of a training scan keeps its class from being trained on, since a training reads a class as
//! a whole; a flaw of a test scan costs that scan; a class with too few of one kind of scans is no
//! test class, or no training class.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::cache::Cache;
use super::data_set::{Class, DataSet, ScanFile, name_of};
use super::facts::{Facts, Look, look};
use super::timing::Times;
use super::{table, workers};
use crate::layout::{self, Problem, Split};

/// Normal scans that a training needs: one is held out.
const TRAIN_SCANS_MIN: usize = 3;

/// What a problem costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// The class cannot be trained on.
    Training,
    /// The class cannot be tested on.
    Testing,
    /// One test scan.
    Scan,
}

/// A problem, and what it costs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    /// The class.
    pub class: String,
    /// What cannot be done.
    pub cost: Cost,
    /// Why.
    pub problem: Problem,
}

/// A data set as it is.
#[derive(Debug)]
pub struct Survey {
    /// Its whole scans; a class that cannot be trained or tested on has no such scans.
    pub set: DataSet,
    /// Numbers of the scans, by name.
    pub facts: BTreeMap<String, Facts>,
    /// What is wrong, in order.
    pub flaws: Vec<Flaw>,
}

/// What a survey uses.
pub struct Tools<'a> {
    /// Scans at a time.
    pub jobs: usize,
    /// Where numbers are kept.
    pub cache: &'a Cache,
    /// Where the time is added.
    pub times: &'a Times,
    /// Is called after each scan.
    pub tick: &'a (dyn Fn() + Sync),
}

/// Walks the data set, hashes, reads and measures every scan.
///
/// # Errors
/// When there is no data set at all, or a name cannot stand in the tables.
pub fn survey(root: &Path, tools: &Tools<'_>) -> Result<Survey> {
    let root = root.canonicalize().with_context(|| format!("there is no data set {}", root.display()))?;
    ensure!(
        root.is_dir(),
        "{}: found a file, expected the folder of a data set in the MVTec 3D-AD layout",
        root.display()
    );
    table::check_name(&name_of(&root))?;
    let mut found =
        Survey { set: DataSet::new(root.clone(), Vec::new()), facts: BTreeMap::new(), flaws: Vec::new() };
    let mut classes = Vec::new();
    for folder in layout::classes(&root)? {
        table::check_name(&name_of(&folder))?;
        classes.push(found.class(&folder, tools)?);
    }
    for folder in layout::empty_folders(&root)? {
        found.empty(&folder);
    }
    found.flaws.sort();
    Ok(Survey { set: DataSet::new(root, classes), ..found })
}

impl Survey {
    fn class(&mut self, folder: &Path, tools: &Tools<'_>) -> Result<Class> {
        let name = name_of(folder);
        let train = self.split(&name, folder, Split::Train, tools)?;
        let test = self.split(&name, folder, Split::Test, tools)?;
        let mut class = Class { name, train, test };
        self.count(&class, folder);
        if self.costs(&class.name, Cost::Training) {
            class.train.clear();
        }
        if self.costs(&class.name, Cost::Testing) {
            class.test.clear();
        }
        Ok(class)
    }

    /// The whole scans of a split.
    fn split(
        &mut self,
        class: &str,
        folder: &Path,
        split: Split,
        tools: &Tools<'_>,
    ) -> Result<Vec<ScanFile>> {
        let (entries, problems) = layout::survey(folder, split);
        let how = Look { class, cache: tools.cache, times: tools.times };
        let seen = workers::map(
            &entries,
            tools.jobs,
            || (),
            |(): &mut (), entry| {
                let seen = look(entry, how);
                (tools.tick)();
                Ok(seen)
            },
        )?;
        let cost = if split == Split::Train { Cost::Training } else { Cost::Scan };
        let mut scans = Vec::new();
        let flaw = |problem| Flaw { class: class.to_owned(), cost, problem };
        self.flaws.extend(problems.into_iter().map(flaw));
        for seen in seen {
            match seen {
                Ok((file, facts)) => {
                    self.facts.insert(file.name.clone(), facts);
                    scans.push(file);
                }
                Err(problem) => self.flaws.push(flaw(problem)),
            }
        }
        Ok(scans)
    }

    /// Whether there are enough scans of each kind, where there is such a split.
    fn count(&mut self, class: &Class, folder: &Path) {
        let (train, test) = (folder.join(Split::Train.name()), folder.join(Split::Test.name()));
        // A flaw of one of the scans costs the trainings already.
        let trainable = !self.costs(&class.name, Cost::Training);
        if train.exists() && trainable && class.train.len() < TRAIN_SCANS_MIN {
            let found = format!("{} usable normal scans", class.train.len());
            let expected = format!("at least {TRAIN_SCANS_MIN} in good/xyz");
            self.flaw(class, Cost::Training, &train, [&found, &expected, "add scans, or do not train on it"]);
        }
        if !test.exists() {
            return;
        }
        for (defective, what, place) in [(false, "good", "good/xyz"), (true, "defective", "DEFECT/xyz")] {
            if !class.test.iter().any(|scan| scan.defective == defective) {
                let found = format!("no usable {what} test scans");
                let expected = format!("at least one in {place}: no figure can be computed without");
                self.flaw(
                    class,
                    Cost::Testing,
                    &test,
                    [&found, &expected, "add scans, or do not test on it"],
                );
            }
        }
    }

    fn flaw(&mut self, class: &Class, cost: Cost, path: &Path, words: [&str; 3]) {
        self.flaws.push(Flaw { class: class.name.clone(), cost, problem: Problem::new(path, words) });
    }

    fn empty(&mut self, folder: &Path) {
        let advice = "unpack the class again, or remove the folder";
        let problem =
            Problem::new(folder, ["an empty folder", "a class: train/good/xyz, test/DEFECT/xyz", advice]);
        for cost in [Cost::Training, Cost::Testing] {
            self.flaws.push(Flaw { class: name_of(folder), cost, problem: problem.clone() });
        }
    }

    /// Whether a class has a flaw of that cost.
    #[must_use]
    pub fn costs(&self, class: &str, cost: Cost) -> bool {
        self.flaws.iter().any(|flaw| flaw.class == class && flaw.cost == cost)
    }

    /// Classes that can be used, or could if they had no flaw.
    #[must_use]
    pub fn candidates(&self, cost: Cost) -> Vec<String> {
        let has = |class: &&Class| {
            if cost == Cost::Training { !class.train.is_empty() } else { !class.test.is_empty() }
        };
        let mut names: Vec<String> = self.set.classes.iter().filter(has).map(|c| c.name.clone()).collect();
        names.extend(self.flaws.iter().filter(|flaw| flaw.cost == cost).map(|flaw| flaw.class.clone()));
        names.sort();
        names.dedup();
        names
    }
}
