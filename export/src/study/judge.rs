//! One group of cells: a bank from the training classes, every test scan of all other classes against
//! it, and the figures of each class.

use anyhow::{Context, Result};
use ndarray::ArrayView2;
use zal::detector::Comparison;

use super::data_set::{Class, DataSet, ScanFile};
use super::describe::Worker;
use super::figures::figures;
use super::kept::Details;
use super::recipe::Recipe;
use super::table::ClassFigures;
use super::verdict::{Judge, judge_scan};
use super::{Bench, cache, workers};
use crate::bank_build::{BuildParams, DescribedScan, assemble_with, coreset};

/// Changes with what the figures are and how they come about.
const FIGURES: &str = "figures/2";

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
        cache::key(&parts)
    }

    /// Fills the bank and judges every class.
    pub fn judge(&self, bench: &Bench<'_>) -> Result<(Vec<ClassFigures>, Details)> {
        let judge = self.judge_of(bench)?;
        let mut details = Details::default();
        let mut one = |class: &Class| self.class(class, bench, &judge, &mut details);
        let figures: Vec<ClassFigures> =
            self.set.others(self.training).map(&mut one).collect::<Result<_>>()?;
        Ok((figures, details))
    }

    fn training_scans(&self) -> Vec<&ScanFile> {
        self.set.trained(self.training).flat_map(|class| &class.train).collect()
    }

    /// What the test scans are compared with.
    fn judge_of(&self, bench: &Bench<'_>) -> Result<Judge> {
        let rules = &self.recipe.rules;
        match rules.control {
            Some(control) => Ok(Judge::Control(control, rules.seed)),
            None => self.bank(bench),
        }
    }

    fn bank(&self, bench: &Bench<'_>) -> Result<Judge> {
        let describe = |worker: &mut Worker<'_>, file: &&ScanFile| -> Result<(String, DescribedScan)> {
            let seen = worker.see(file)?;
            let seen =
                seen.with_context(|| format!("the normal scan {} shows no object", file.xyz.display()))?;
            Ok((file.name.clone(), seen.described))
        };
        let make = || Worker::new(bench, self.recipe);
        let scans = workers::map(&self.training_scans(), bench.setup.jobs, make, describe)?;
        bench.times.measure("bank", || {
            let rules = &self.recipe.rules;
            let pick = |rows: ArrayView2<'_, f32>| self.picks(rows, bench);
            let (bank, params) = assemble_with(scans, self.recipe.params.clone(), rules.fusion, &pick)?;
            Ok(Judge::Bank { comparison: Comparison::new(&params, bank)?, params, map: rules.map })
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
