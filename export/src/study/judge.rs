//! One group of cells: a bank from the training classes, every test scan of all other classes against
//! it, and the figures of each class.

use anyhow::{Context, Result};
use ndarray::ArrayView2;
use zal::bank::MemoryBank;
use zal::detector::{Comparison, ModeParams};

use super::data_set::{Class, DataSet, ScanFile};
use super::describe::Worker;
use super::explain::Explained;
use super::figures::figures;
use super::kept::Details;
use super::recipe::Recipe;
use super::references::References;
use super::table::ClassFigures;
use super::verdict::{Judge, judge_scan};
use super::{Bench, cache, workers};
use crate::bank_build::{BuildParams, DescribedScan, assemble_with, coreset};

/// Changes with what the figures are and how they come about.
const FIGURES: &str = "figures/3";

/// What is judged.
pub struct Group<'a> {
    /// The data set.
    pub set: &'a DataSet,
    /// The training classes.
    pub training: &'a [String],
    /// Arm and mode.
    pub recipe: &'a Recipe,
    /// Size of the bank.
    pub build: BuildParams,
}

/// What the test scans of all classes are compared with.
enum Base {
    /// The same for every class.
    Same(Judge),
    /// References of every class, and the bank when it is one of them.
    ByClass(Option<Box<(MemoryBank, ModeParams)>>),
}

impl Base {
    /// What the scans of a class are compared with.
    fn judge_or<'a>(&'a self, of_class: Option<&'a Judge>) -> Result<&'a Judge> {
        let of_all = match self {
            Self::Same(judge) => Some(judge),
            Self::ByClass(_) => None,
        };
        of_all.or(of_class).context("a class without anything to compare with")
    }
}

impl Group<'_> {
    /// Hash of all that the figures depend on.
    pub fn key(&self, bench: &Bench<'_>) -> String {
        let size = format!("{} {}", self.build.fraction, self.build.rows_max);
        let recipe = self.recipe.key(&bench.setup.engine);
        let bootstrap = format!("{:?}", bench.setup.bootstrap);
        let mut parts = vec!["group", FIGURES, &size, &recipe, &bootstrap];
        for scan in self.training_scans() {
            parts.extend([scan.name.as_str(), &scan.key]);
        }
        for scan in self.set.others(self.training).flat_map(|class| &class.test) {
            parts.extend([scan.name.as_str(), &scan.key, &scan.gt_key]);
        }
        let references = self.recipe.rules.reference.iter().flat_map(|_| self.set.others(self.training));
        for scan in references.flat_map(|class| &class.train) {
            parts.extend([scan.name.as_str(), &scan.key]);
        }
        cache::key(&parts)
    }

    /// Fills the bank and judges every class.
    pub fn judge(&self, bench: &Bench<'_>) -> Result<(Vec<ClassFigures>, Details)> {
        let base = self.base(bench)?;
        let mut details = Details::default();
        let mut one = |class: &Class| {
            let of_class = self.of_class(class, &base, bench)?;
            self.class(class, bench, base.judge_or(of_class.as_ref())?, &mut details)
        };
        let figures: Vec<ClassFigures> =
            self.set.others(self.training).map(&mut one).collect::<Result<_>>()?;
        Ok((figures, details))
    }

    /// Judges the named test scans again, those that there are, in their order.
    pub fn judge_again(&self, bench: &Bench<'_>, names: &[String]) -> Result<Vec<Explained>> {
        let base = self.base(bench)?;
        let mut worker = Worker::new(bench, self.recipe);
        let mut found = Vec::new();
        for class in self.set.others(self.training) {
            let named = class.test.iter().filter(|scan| names.contains(&scan.name));
            let files: Vec<&ScanFile> = named.collect();
            if files.is_empty() {
                continue;
            }
            let of_class = self.of_class(class, &base, bench)?;
            let judge = base.judge_or(of_class.as_ref())?;
            for file in files {
                let seen = worker.see(file)?;
                found.push(judge_scan(file, seen.as_ref(), judge)?.explained(file));
            }
        }
        found.sort_by_key(|one| names.iter().position(|name| *name == one.file.name));
        Ok(found)
    }

    /// What the scans of one class alone are compared with.
    fn of_class(&self, class: &Class, base: &Base, bench: &Bench<'_>) -> Result<Option<Judge>> {
        let Base::ByClass(bank) = base else { return Ok(None) };
        let references = References::of(class, self.recipe, bench, bank.as_deref().cloned())?;
        Ok(Some(Judge::References(Box::new(references))))
    }

    fn training_scans(&self) -> Vec<&ScanFile> {
        self.set.trained(self.training).flat_map(|class| &class.train).collect()
    }

    /// What the test scans of all classes are compared with.
    fn base(&self, bench: &Bench<'_>) -> Result<Base> {
        let rules = &self.recipe.rules;
        match (rules.control, rules.reference) {
            (Some(control), _) => Ok(Base::Same(Judge::Control(control, rules.seed))),
            (None, None) => {
                let (bank, params) = self.bank(bench)?;
                let index = || Comparison::new(&params, bank);
                let comparison = Box::new(bench.times.measure("bank", index)?);
                Ok(Base::Same(Judge::Bank { comparison, params: Box::new(params), map: rules.map }))
            }
            (None, Some(reference)) if reference.bank => Ok(Base::ByClass(Some(Box::new(self.bank(bench)?)))),
            (None, Some(_)) => Ok(Base::ByClass(None)),
        }
    }

    fn bank(&self, bench: &Bench<'_>) -> Result<(MemoryBank, ModeParams)> {
        let describe = |worker: &mut Worker<'_>, file: &&ScanFile| -> Result<(String, DescribedScan)> {
            let seen = worker.see(file)?;
            let seen =
                seen.with_context(|| format!("the normal scan {} shows no object", file.xyz.display()))?;
            Ok((file.name.clone(), seen.described))
        };
        let make = || Worker::new(bench, self.recipe);
        let scans = workers::map(&self.training_scans(), bench.setup.jobs, make, describe)?;
        bench.times.measure("bank", || {
            let pick = |rows: ArrayView2<'_, f32>| self.picks(rows, bench);
            assemble_with(scans, self.recipe.params.clone(), self.recipe.rules.fusion, &pick)
        })
    }

    /// The rows that the bank keeps: arms with the same branches keep the same ones.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "row numbers; a bank of 2^24 rows fits in no memory"
    )]
    fn picks(&self, rows: ArrayView2<'_, f32>, bench: &Bench<'_>) -> Result<Vec<usize>> {
        let size = format!("{} {}", self.build.fraction, self.build.rows_max);
        let recipe = self.recipe.bank_key(&bench.setup.engine);
        let mut parts = vec!["picks", &size, &recipe];
        parts.extend(self.training_scans().iter().map(|scan| scan.key.as_str()));
        let key = cache::key(&parts);
        if let Some((_, kept)) = bench.cache.get(&key) {
            let picks: Vec<usize> = kept.iter().map(|row| *row as usize).collect();
            if picks.iter().all(|row| *row < rows.nrows()) {
                return Ok(picks);
            }
        }
        let picks = coreset(rows, self.build);
        let values: Vec<f32> = picks.iter().map(|row| *row as f32).collect();
        bench.cache.put(&key, &[values.len()], &values)?;
        Ok(picks)
    }

    /// The figures of one class. Only its pixels' scores are in memory, 4 bytes each.
    fn class(
        &self,
        class: &Class,
        bench: &Bench<'_>,
        judge: &Judge,
        details: &mut Details,
    ) -> Result<ClassFigures> {
        let one = |worker: &mut Worker<'_>, file: &ScanFile| {
            let seen = worker.see(file)?;
            bench.times.measure("judge", || Ok(judge_scan(file, seen.as_ref(), judge)?.summed_up(file)))
        };
        let make = || Worker::new(bench, self.recipe);
        let judged = workers::map(&class.test, bench.setup.jobs, make, one)?;
        Ok(bench.times.measure("figures", || {
            details.push_scans(&class.name, &judged);
            figures(&class.name, judged, &bench.setup.bootstrap, details)
        }))
    }
}
