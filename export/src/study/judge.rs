//! One group of cells: a bank from the training classes, every test scan of all other classes against
//! it, and the figures of each class.

use anyhow::{Context, Result, ensure};
use zal::detector::{Comparison, ModeParams, PATCHES_MIN};
use zal::metrics::{Domain, FPR_LIMIT, MaskedMap, PixelPool, auroc, auroc_interval, peak_on_defect};
use zal::scan::png;
use zal::score::{lifted_map, scan_map, scan_mask};

use super::data_set::{Class, DataSet, ScanFile};
use super::describe::{Seen, Worker};
use super::recipe::Recipe;
use super::table::{ClassFigures, Figure};
use super::{Bench, cache, read_file, workers};
use crate::bank_build::{BuildParams, DescribedScan, assemble};

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

/// What is kept of a judged test scan.
struct Judged {
    defective: bool,
    /// None when the scan cannot be judged.
    score: Option<f32>,
    peak_on_defect: Option<bool>,
    pixels: PixelPool,
}

impl Group<'_> {
    /// Hash of all that the figures depend on.
    pub fn key(&self, bench: &Bench<'_>) -> String {
        let size = format!("{} {}", self.build.fraction, self.build.rows_max);
        let recipe = self.recipe.key(&bench.setup.engine);
        let bootstrap = format!("{:?}", bench.setup.bootstrap);
        let mut parts = vec!["group", &size, &recipe, &bootstrap];
        for scan in self.training_scans() {
            parts.extend([scan.name.as_str(), &scan.key]);
        }
        for scan in self.set.others(self.training).flat_map(|class| &class.test) {
            parts.extend([scan.name.as_str(), &scan.key, &scan.gt_key]);
        }
        cache::key(&parts)
    }

    /// Fills the bank and judges every class.
    pub fn judge(&self, bench: &Bench<'_>) -> Result<Vec<ClassFigures>> {
        let (comparison, params) = self.bank(bench)?;
        let judge = |class: &Class| self.class(class, bench, &comparison, &params);
        self.set.others(self.training).map(judge).collect()
    }

    fn training_scans(&self) -> Vec<&ScanFile> {
        self.set.trained(self.training).flat_map(|class| &class.train).collect()
    }

    fn bank(&self, bench: &Bench<'_>) -> Result<(Comparison, ModeParams)> {
        let describe = |worker: &mut Worker<'_>, file: &&ScanFile| -> Result<(String, DescribedScan)> {
            let seen = worker.see(file)?;
            let seen =
                seen.with_context(|| format!("the normal scan {} shows no object", file.xyz.display()))?;
            Ok((file.name.clone(), seen.described))
        };
        let make = || Worker::new(bench, self.recipe);
        let scans = workers::map(&self.training_scans(), bench.setup.jobs, make, describe)?;
        bench.times.measure("bank", || {
            let (bank, params) = assemble(scans, self.recipe.params.clone(), self.build)?;
            Ok((Comparison::new(&params, bank)?, params))
        })
    }

    /// The figures of one class. Only its pixels' scores are in memory, 4 bytes each.
    fn class(
        &self,
        class: &Class,
        bench: &Bench<'_>,
        comparison: &Comparison,
        params: &ModeParams,
    ) -> Result<ClassFigures> {
        let judge = |worker: &mut Worker<'_>, file: &ScanFile| {
            let seen = worker.see(file)?.filter(|seen| seen.grid.count() >= PATCHES_MIN);
            bench.times.measure("judge", || judge_scan(file, seen.as_ref(), comparison, params))
        };
        let make = || Worker::new(bench, self.recipe);
        let judged = workers::map(&class.test, bench.setup.jobs, make, judge)?;
        Ok(bench.times.measure("figures", || figures(&class.name, judged, bench)))
    }
}

/// Scores a test scan as the detector does. One that the detector could not decide on has a map of
/// zeros and no image score.
fn judge_scan(
    file: &ScanFile,
    seen: Option<&Seen>,
    comparison: &Comparison,
    params: &ModeParams,
) -> Result<Judged> {
    let mask = read_mask(file)?;
    let (score, map) = match seen {
        None => (None, mask.with(vec![0.0; mask.values.len()], vec![false; mask.values.len()])),
        Some(seen) => {
            let compared = comparison.compare(
                seen.grid.patches(),
                &seen.described.features,
                seen.described.logits.as_deref(),
            )?;
            let score = compared.image_score;
            ensure!(score.is_finite(), "{}: the image score is {score}, expected a finite one", file.name);
            let (cloud, window) = (seen.frame.mask_cloud(), seen.frame.window);
            let map = lifted_map(&seen.grid, &compared.map_scores, params.map_sigma_px, &cloud, window);
            let found = [window.scan_height * window.scan_width, window.scan_width];
            ensure!(
                found == [mask.values.len(), mask.width],
                "{}: scan and mask differ in size: found {found:?} and {:?} pixels and columns",
                file.name,
                [mask.values.len(), mask.width]
            );
            (Some(score), mask.with(scan_map(&map), scan_mask(&seen.frame.object, &window)))
        }
    };
    let mut pixels = PixelPool::default();
    pixels.add(&map);
    Ok(Judged { defective: file.defective, score, peak_on_defect: peak_on_defect(&map), pixels })
}

/// Ground truth of a test scan.
struct Mask {
    values: Vec<u8>,
    width: usize,
}

impl Mask {
    /// A map with this ground truth, and as its object what the preprocessing kept and what is
    /// defective: a missing piece belongs to the part.
    fn with(&self, scores: Vec<f32>, mut object: Vec<bool>) -> MaskedMap {
        object.iter_mut().zip(&self.values).for_each(|(on, defect)| *on |= *defect > 0);
        MaskedMap { scores, mask: self.values.clone(), width: self.width, object: Some(object) }
    }
}

fn read_mask(file: &ScanFile) -> Result<Mask> {
    let path = file.gt.as_ref().with_context(|| format!("{} has no mask", file.name))?;
    let image = png::decode(&read_file(path)?).with_context(|| format!("{}", path.display()))?;
    let values = image.pixels.iter().map(|rgb| rgb.iter().copied().fold(0, u8::max)).collect();
    Ok(Mask { values, width: image.width })
}

fn figures(class: &str, judged: Vec<Judged>, bench: &Bench<'_>) -> ClassFigures {
    let of = |defective: bool| judged.iter().filter(move |j| j.defective == defective);
    let scores = |defective: bool| of(defective).filter_map(|j| j.score).collect::<Vec<f32>>();
    let (good, defective) = (scores(false), scores(true));
    let hits: Vec<bool> = judged.iter().filter_map(|j| j.peak_on_defect).collect();
    let mut figures = ClassFigures {
        test_class: class.to_owned(),
        ok_scans: of(false).count(),
        defective_scans: of(true).count(),
        undecided_scans: judged.iter().filter(|j| j.score.is_none()).count(),
        values: [None; Figure::ALL.len()],
    };
    let interval = auroc_interval(&good, &defective, &bench.setup.bootstrap);
    figures.set(Figure::ImageAuroc, auroc(&good, &defective));
    figures.set(Figure::ImageAurocLow, interval.map(|[low, _]| low));
    figures.set(Figure::ImageAurocHigh, interval.map(|[_, high]| high));
    figures.set(Figure::Hit1, share(&hits));
    let mut pool = PixelPool::default();
    judged.into_iter().for_each(|j| pool.append(j.pixels));
    for (domain, published, exact) in [
        (Domain::Object, Figure::AuproFg, Figure::AuproFgExact),
        (Domain::Image, Figure::Aupro, Figure::AuproExact),
    ] {
        let ranked = pool.rank(domain, FPR_LIMIT);
        figures.set(published, ranked.as_ref().map(|r| r.published()));
        figures.set(exact, ranked.as_ref().map(|r| r.exact()));
    }
    figures
}

#[expect(clippy::cast_precision_loss, reason = "a count of scans")]
fn share(hits: &[bool]) -> Option<f64> {
    let hit_count = hits.iter().filter(|hit| **hit).count();
    (!hits.is_empty()).then(|| hit_count as f64 / hits.len() as f64)
}
