//! Scans of the test class as references: anchors, a buffer as a line would hold it, and the bank as one
//! more, in the very set that a daemon judges with ([`zal::detector::references`]).

use anyhow::{Context, Result, ensure};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use zal::bank::MemoryBank;
use zal::bank::reference::Combination;
use zal::detector::references::{Candidate, ReferenceRules, ScanFacts, Source, TurnedRows};
use zal::detector::{Compared, Comparison, ModeParams, references};

use super::arm::Reference;
use super::data_set::{Class, ScanFile};
use super::describe::Worker;
use super::recipe::Recipe;
use super::{Bench, workers};
use crate::bank_build::DescribedScan;

/// The references of one class: the detector's own set, and the bank that is one of them.
pub(super) struct References {
    set: references::References,
    bank: Option<Comparison>,
    /// Settings of the map.
    pub(super) params: ModeParams,
}

/// A scan to compare with.
struct ReferenceScan {
    candidate: Candidate,
    source: Source,
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
        let mut scans = workers::map(&chosen, bench.setup.jobs, || Worker::new(bench, recipe), describe)?;
        scans.iter_mut().take(reference.anchors).for_each(|scan| scan.source = Source::Anchor);
        let (bank, params) = match bank {
            Some((bank, params)) => (Some(Comparison::new(&params, bank)?), params),
            None => (None, recipe.params.clone()),
        };
        let set = references::References::new(rules(&reference), &params);
        let set = set.context("references are for mode line")?;
        let mut found = Self { set, bank, params };
        for ReferenceScan { candidate, source } in scans {
            let bank = found.bank_rows(&candidate.described)?;
            found.set.add(candidate, source, bank)?;
        }
        bench.times.measure("references", || found.set.refresh_all())?;
        Ok(found)
    }

    /// Judges the patches of a scan; one of that name among the references is left out.
    pub(super) fn compare(&self, name: &str, described: &DescribedScan) -> Result<Compared> {
        let look = self.set.look(name, described, self.bank_rows(described)?)?;
        let judgement = self.set.judge(&look);
        let of_bank = judgement.bank_row.zip(self.bank.as_ref()).map(|(row, bank)| bank.origin(row));
        let nearest = judgement.compared.nearest.or(of_bank);
        Ok(Compared { nearest, ..judgement.compared })
    }

    fn bank_rows(&self, described: &DescribedScan) -> Result<Option<Vec<Vec<zal::bank::search::Neighbor>>>> {
        Ok(self.bank.as_ref().map(|bank| bank.nearest(&described.features)).transpose()?)
    }
}

/// The detector's rules for a set that is put together at once: the arm says how many there are.
fn rules(reference: &Reference) -> ReferenceRules {
    let combination = reference.lowest_share.map_or(Combination::Minimum, Combination::LowestShare);
    ReferenceRules {
        buffer_len: reference.buffer,
        anchors_max: reference.anchors,
        rotations: reference.rotations,
        combination,
        bank: reference.bank,
        // Figures need scores, not verdicts, and the threshold's place among them decides nothing.
        scans_min: 1,
        anchors_min: 1,
        ..ReferenceRules::default()
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
        let found = worker.see_turned(file, turn, turns)?;
        turned.extend(found.map(|(patches, rows)| TurnedRows { patches, rows }));
    }
    // How scans were taken is watched by a daemon, not by figures.
    let facts = ScanFacts::default();
    let candidate = Candidate { name: file.name.clone(), described: seen.described, turned, facts };
    Ok(ReferenceScan { candidate, source: Source::Buffer })
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
