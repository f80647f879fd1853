//! Scans of the test class as references: anchors, a buffer as a line would hold it, and the bank as one
//! more. Patches take their distance to the nearest of them, branch by branch; the rest is mode `line`.

use anyhow::{Context, Result, ensure};
use ndarray::{Array2, Axis, concatenate, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use zal::bank::MemoryBank;
use zal::bank::reference::{Combination, PerScan, ReferenceSet};
use zal::detector::{Compared, LateFusion, ModeParams, NearestNormal};
use zal::features::{Branch, PatchFeatures};

use super::arm::Reference;
use super::data_set::{Class, ScanFile};
use super::describe::Worker;
use super::recipe::Recipe;
use super::{Bench, workers};
use crate::bank_build::{DescribedScan, measure_distances};

/// Name of the bank among the references.
const BANK: &str = "the bank";

/// The references of one class.
pub(super) struct References {
    /// One set a branch, all of the same scans in the same order.
    sets: Vec<ReferenceSet>,
    combination: Combination,
    bank: Option<MemoryBank>,
    fusion: LateFusion,
    /// Settings with the spreads.
    pub(super) params: ModeParams,
}

/// A scan to compare with.
struct ReferenceScan {
    name: String,
    described: DescribedScan,
    /// Colour rows of the other turns, and the patches that they show.
    turned: Vec<(Vec<u16>, Array2<f32>)>,
}

impl References {
    /// Describes the references of a class; `bank` with its statistics, when it is one of them.
    pub(super) fn of(
        class: &Class,
        recipe: &Recipe,
        bench: &Bench<'_>,
        bank: Option<(MemoryBank, ModeParams)>,
    ) -> Result<Self> {
        let reference = recipe.rules.reference.context("the arm has references")?;
        let chosen = chosen(class, &reference, recipe.rules.seed)?;
        let describe =
            |worker: &mut Worker<'_>, (file, turns): &(&ScanFile, usize)| described(worker, file, *turns);
        let scans = workers::map(&chosen, bench.setup.jobs, || Worker::new(bench, recipe), describe)?;
        let (bank, params) = bank.map_or((None, recipe.params.clone()), |(b, p)| (Some(b), p));
        let sets = recipe.params.describe.branches.iter().enumerate();
        let sets = sets.map(|(at, branch)| set_of(at, *branch, &scans, bank.as_ref()));
        let combination = reference.lowest_share.map_or(Combination::Minimum, Combination::LowestShare);
        let mut found = Self {
            sets: sets.collect::<Result<_>>()?,
            combination,
            bank,
            fusion: LateFusion::of(&params).context("references are for mode line")?,
            params,
        };
        if found.bank.is_none() {
            found.measure(scans, bench.setup.jobs)?;
        }
        Ok(found)
    }

    /// Spreads from the references' distances to each other, each left out of its own.
    fn measure(&mut self, scans: Vec<ReferenceScan>, jobs: usize) -> Result<()> {
        let distances = |(): &mut (), scan: &ReferenceScan| {
            let per_scan = self.per_scan(&scan.described.features)?;
            self.combined(&per_scan, &scan.name)
        };
        let distances = workers::map(&scans, jobs, || (), distances)?;
        let described: Vec<DescribedScan> = scans.into_iter().map(|scan| scan.described).collect();
        measure_distances(&mut self.params, &distances, &described);
        self.fusion = LateFusion::of(&self.params).context("references are for mode line")?;
        Ok(())
    }

    /// Judges the patches of a scan; one of that name among the references is left out.
    pub(super) fn compare(
        &self,
        name: &str,
        patches: &[u16],
        features: &[PatchFeatures],
        logits: Option<&[f32]>,
    ) -> Result<Compared> {
        let per_scan = self.per_scan(features)?;
        let distances = self.combined(&per_scan, name)?;
        let (compared, loudest) = self.fusion.fuse(patches, features, logits, &distances);
        let without = self.position(name);
        let origin = loudest.and_then(|at| {
            let (scan, nearest) = per_scan[at.branch].nearest(at.patch, without)?;
            Some(self.origin(at.branch, scan, nearest.row as usize))
        });
        Ok(Compared { nearest: origin, ..compared })
    }

    fn per_scan(&self, features: &[PatchFeatures]) -> Result<Vec<PerScan>> {
        let one = |(set, part): (&ReferenceSet, &PatchFeatures)| set.nearest_per_scan(part.rows.view());
        Ok(self.sets.iter().zip(features).map(one).collect::<Result<_, _>>()?)
    }

    fn combined(&self, per_scan: &[PerScan], name: &str) -> Result<Vec<Vec<f32>>> {
        let without = self.position(name);
        let combine = |found: &PerScan| found.combine(self.combination, without);
        let distances: Option<_> = per_scan.iter().map(combine).collect();
        distances.with_context(|| format!("{name} is the only reference: nothing is left to compare with"))
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.sets.first()?.scans().iter().position(|scan| scan.name() == name)
    }

    fn origin(&self, branch: usize, scan: usize, row: usize) -> NearestNormal {
        let found = &self.sets[branch].scans()[scan];
        match &self.bank {
            Some(bank) if found.name() == BANK => {
                let (scan, patch) = bank.origin(row);
                NearestNormal { scan: scan.into(), patch }
            }
            _ => NearestNormal { scan: found.name().into(), patch: found.patches()[row] },
        }
    }
}

/// The scans of a class that are its references, each with the number of its turns.
fn chosen<'a>(class: &'a Class, reference: &Reference, seed: u64) -> Result<Vec<(&'a ScanFile, usize)>> {
    let Reference { anchors, rotations, buffer, defect_rate, .. } = *reference;
    let (found, name) = (class.train.len(), &class.name);
    ensure!(found >= anchors, "{name} has {found} good scans in its train split, expected {anchors} anchors");
    let defective = share_of(buffer, defect_rate);
    let good = class.train[anchors..].iter().chain(class.test.iter().filter(|scan| !scan.defective));
    let bad = class.test.iter().filter(|scan| scan.defective);
    let mut rng = generator(seed, name);
    let mut chosen: Vec<(&ScanFile, usize)> = class.train[..anchors].iter().map(|f| (f, rotations)).collect();
    for (kind, mut pool, count) in [
        ("good scans beside its anchors", good.collect::<Vec<_>>(), buffer - defective),
        ("defective test scans", bad.collect(), defective),
    ] {
        let found = pool.len();
        ensure!(
            found >= count,
            "{name} has {found} {kind}, and a buffer of {buffer} with a share of {defect_rate} defective \
             needs {count}: make it smaller, or give the class more scans"
        );
        for _ in 0..count {
            let index = ((u64::from(rng.next_u32()) * pool.len() as u64) >> 32) as usize;
            chosen.push((pool.swap_remove(index), 1));
        }
    }
    Ok(chosen)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a few scans"
)]
fn share_of(count: usize, share: f64) -> usize {
    ((count as f64 * share).round() as usize).min(count)
}

/// One stream a seed and class: the same buffer whatever was trained on.
fn generator(seed: u64, class: &str) -> ChaCha8Rng {
    let mut hasher = Sha256::new();
    hasher.update(b"buffer");
    hasher.update(seed.to_le_bytes());
    hasher.update(class.as_bytes());
    ChaCha8Rng::from_seed(hasher.finalize().into())
}

fn described(worker: &mut Worker<'_>, file: &ScanFile, turns: usize) -> Result<ReferenceScan> {
    let seen = worker.see(file)?;
    let seen = seen.with_context(|| format!("the reference scan {} shows no object", file.xyz.display()))?;
    let mut turned = Vec::new();
    for turn in 1..turns {
        turned.extend(worker.see_turned(file, turn, turns)?);
    }
    Ok(ReferenceScan { name: file.name.clone(), described: seen.described, turned })
}

/// The set of one branch, the bank first when it is a reference.
fn set_of(
    at: usize,
    branch: Branch,
    scans: &[ReferenceScan],
    bank: Option<&MemoryBank>,
) -> Result<ReferenceSet> {
    let mut set = ReferenceSet::new();
    if let Some(bank) = bank {
        let columns = bank.block_columns(branch).context("the bank has every branch")?;
        let patches = bank.origins.iter().map(|origin| origin.patch).collect();
        set.add(BANK.into(), bank.rows.slice(s![.., columns]).to_owned(), patches)?;
    }
    for scan in scans {
        let mut patches = scan.described.patches.clone();
        let mut parts = vec![scan.described.features[at].rows.view()];
        for (shown, rows) in scan.turned.iter().filter(|_| branch == Branch::Rgb) {
            patches.extend(shown);
            parts.push(rows.view());
        }
        set.add(scan.name.clone(), concatenate(Axis(0), &parts)?, patches)?;
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(train: usize, good: usize, defective: usize) -> Class {
        let scan = |kind: &str, number: usize| ScanFile {
            name: format!("rope/{kind}/{number}"),
            xyz: std::path::PathBuf::new(),
            gt: None,
            defective: kind == "bump",
            key: String::new(),
            gt_key: String::new(),
        };
        let scans = |kind: &'static str, count| (0..count).map(move |i| scan(kind, i));
        Class {
            name: "rope".into(),
            train: scans("train", train).collect(),
            test: scans("good", good).chain(scans("bump", defective)).collect(),
        }
    }

    fn reference(anchors: usize, buffer: usize, defect_rate: f64) -> Reference {
        Reference { anchors, rotations: 12, buffer, defect_rate, bank: true, lowest_share: None }
    }

    #[test]
    fn anchors_come_first_and_the_buffer_has_its_share_of_defects() {
        let class = class(8, 4, 6);
        let drawn = |seed| chosen(&class, &reference(3, 9, 0.3), seed).expect("there are enough");
        let first = drawn(1);
        assert_eq!(first.len(), 12);
        assert!(
            first[..3]
                .iter()
                .enumerate()
                .all(|(i, (f, turns))| { f.name == format!("rope/train/{i}") && *turns == 12 })
        );
        assert_eq!(first[3..].iter().filter(|(f, _)| f.defective).count(), 3);
        assert!(first[3..].iter().all(|(_, turns)| *turns == 1));
        let mut names: Vec<&str> = first.iter().map(|(f, _)| f.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 12, "no scan is drawn twice");
        assert_eq!(drawn(1), first);
        assert_ne!(drawn(2), first);
    }

    #[test]
    fn a_class_with_too_few_scans_says_which_are_missing() {
        let refused = |class: &Class, reference: &Reference| {
            format!("{:#}", chosen(class, reference, 0).expect_err("too few"))
        };
        let few = refused(&class(2, 3, 9), &reference(3, 0, 0.0));
        assert!(few.contains("2 good scans") && few.contains("3 anchors"), "{few}");
        let few = refused(&class(4, 3, 9), &reference(2, 8, 0.25));
        assert!(few.contains("5 good scans beside its anchors") && few.contains("needs 6"), "{few}");
        let few = refused(&class(40, 3, 1), &reference(0, 8, 0.25));
        assert!(few.contains("1 defective test scans") && few.contains("needs 2"), "{few}");
    }
}
