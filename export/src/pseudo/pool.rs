//! [`Pool`]: the task-irrelevant scans that chunks are cut from, and the rule that keeps the classes under
//! test out of them.
//!
//! The paper's figures draw chunks from other classes of the data set it tests on. A model that has seen
//! pieces of the class under test is not zero-shot, so a pool records the classes it was made of, and
//! [`check_leakage`] names the first that is under test.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use zal::cloud::OrganizedCloud;
use zal::preprocess::{FRAME_SIZE, PreprocessError, PreprocessParams, prepare};
use zal::synth::{Family, SynthParams, generate};

use super::Frame;

/// Share of a scan's measured points that count as peaks of its activation map \[C\].
pub const PEAK_SHARE: f32 = 0.05;
/// Pixels of a frame's activation map.
pub const MAP_LEN: usize = FRAME_SIZE * FRAME_SIZE;

/// A task-irrelevant scan.
#[derive(Debug, Clone)]
pub struct Irrelevant {
    /// Which scan, for the provenance.
    pub name: String,
    /// Its frame.
    pub frame: Frame,
    /// Pixels of the measured points where the activation map is highest, ascending.
    pub peaks: Vec<u32>,
}

impl Irrelevant {
    /// Takes a frame and its activation map, row-major `[224 * 224]`.
    ///
    /// # Panics
    /// When the map does not fill the frame.
    #[must_use]
    pub fn new(name: String, frame: Frame, map: &[f32]) -> Self {
        let peaks = peaks(map, &frame.cloud, PEAK_SHARE);
        Self { name, frame, peaks }
    }
}

/// What a pool was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum PoolKind {
    /// Procedural solids and scans of the training class: nothing of the data set's other classes \[C\].
    #[default]
    Strict,
    /// Scans of the data set's other classes, without those under test; reports must flag it \[P\].
    PaperLike,
}

/// Scans to cut chunks from.
#[derive(Debug, Clone)]
pub struct Pool {
    /// What it was made of.
    pub kind: PoolKind,
    /// Names of the classes and procedural families in it, sorted, for the provenance.
    pub classes: Vec<String>,
    /// The scans.
    pub scans: Vec<Irrelevant>,
}

/// A pool holds a class that is under test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "class `{class}` is under test and among the sources of pseudo anomalies: the result would not be \
     zero-shot; leave it out of the pool"
)]
pub struct LeakageError {
    /// The class.
    pub class: String,
}

impl Pool {
    /// A pool of scans with the class each comes from.
    ///
    /// # Errors
    /// When one of the classes is under test.
    pub fn new(
        kind: PoolKind,
        scans: Vec<(String, Irrelevant)>,
        test_classes: &[String],
    ) -> Result<Self, LeakageError> {
        let mut classes: Vec<String> = scans.iter().map(|(class, _)| class.clone()).collect();
        classes.sort();
        classes.dedup();
        check_leakage(&classes, test_classes)?;
        Ok(Self { kind, classes, scans: scans.into_iter().map(|(_, scan)| scan).collect() })
    }
}

/// Makes sure that no class of a pool is under test; names are compared without regard to case.
///
/// # Errors
/// Names the first class that is.
pub fn check_leakage(pool_classes: &[String], test_classes: &[String]) -> Result<(), LeakageError> {
    let under_test = |class: &&String| test_classes.iter().any(|test| test.eq_ignore_ascii_case(class));
    match pool_classes.iter().find(under_test) {
        Some(class) => Err(LeakageError { class: class.clone() }),
        None => Ok(()),
    }
}

/// The measured pixels among the given share with the highest values of a map (row-major `[224 * 224]`),
/// ascending; of equal values the one with the smaller index counts as higher. At least one, when anything
/// was measured where the map is finite.
///
/// # Panics
/// When the map does not fill the cloud's grid.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of the pixels of a frame"
)]
pub fn peaks(map: &[f32], cloud: &OrganizedCloud, share: f32) -> Vec<u32> {
    assert_eq!(map.len(), cloud.points().len(), "the map fills the cloud's grid");
    let mut pixels: Vec<usize> = cloud.valid_indices().into_iter().filter(|p| map[*p].is_finite()).collect();
    pixels.sort_by(|a, b| map[*b].total_cmp(&map[*a]).then(a.cmp(b)));
    pixels.truncate((pixels.len() as f32 * share.clamp(0.0, 1.0)).ceil() as usize);
    pixels.sort_unstable();
    pixels.into_iter().map(|pixel| pixel as u32).collect()
}

/// A procedural scan for a pool.
#[derive(Debug, Clone)]
pub struct Procedural {
    /// Its family: the class it counts as.
    pub family: String,
    /// Which scan, for the provenance.
    pub name: String,
    /// Its frame.
    pub frame: Frame,
}

/// Makes procedural scans of every family but the excluded ones in turn, each a new product; none when all
/// families are excluded. A family counts as excluded by its name alone: `ring` does not exclude a
/// data set's `bagel`.
///
/// # Errors
/// When a scan shows no object to the preprocessing.
pub fn procedural(
    seed: u64,
    count: usize,
    exclude: &[String],
    preprocess: &PreprocessParams,
) -> Result<Vec<Procedural>, PreprocessError> {
    let excluded = |family: &Family| exclude.iter().any(|name| name.eq_ignore_ascii_case(family.name()));
    let families: Vec<Family> = Family::ALL.into_iter().filter(|family| !excluded(family)).collect();
    if families.is_empty() {
        return Ok(Vec::new());
    }
    let make = |index: usize| -> Result<Procedural, PreprocessError> {
        let family = families[index % families.len()];
        let (variant, piece) = (seed.wrapping_mul(1000) + (index / families.len()) as u64, index as u64);
        let made = generate(&SynthParams { variant, ..SynthParams::new(family, piece) });
        let prepared = prepare(&made.scan, preprocess)?;
        let name = format!("procedural {family}, variant {variant}, piece {piece}");
        Ok(Procedural { family: family.to_string(), name, frame: Frame::of(&prepared) })
    };
    (0..count).into_par_iter().map(make).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::frames;
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn peaks_are_the_highest_measured_twentieth() {
        let [frame, _] = frames();
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let map: Vec<f32> = (0..MAP_LEN).map(|i| (i * 7919 % 1009) as f32).collect();
        let found = peaks(&map, &frame.cloud, PEAK_SHARE);
        let count = frame.cloud.valid_count();
        assert!((count / 20..=count / 20 + 1).contains(&found.len()), "{} of {count}", found.len());
        let lowest = found.iter().map(|p| map[*p as usize]).fold(f32::INFINITY, f32::min);
        assert!(found.iter().all(|p| frame.cloud.valid()[*p as usize]));
        let higher = frame.cloud.valid_indices().into_iter().filter(|p| map[*p] > lowest).count();
        assert!(higher <= found.len() && found.is_sorted());

        assert_eq!(peaks(&map, &frame.cloud, 1.0).len(), count);
        assert_eq!(peaks(&map, &frame.cloud, 1e-9).len(), 1);
        assert!(peaks(&vec![f32::NAN; MAP_LEN], &frame.cloud, 0.05).is_empty(), "nothing is finite");
        let flat = peaks(&vec![1.0; MAP_LEN], &frame.cloud, 0.05);
        assert_eq!(flat[0] as usize, frame.cloud.valid_indices()[0], "ties go to the first");
    }

    #[test]
    fn a_class_under_test_is_found_and_named() {
        let pool = names(&["ring", "rope", "tuber"]);
        assert_eq!(check_leakage(&pool, &names(&["cone", "disc"])), Ok(()));
        let leak = check_leakage(&pool, &names(&["cone", "Rope"])).expect_err("rope is under test");
        assert_eq!(leak.class, "rope");
        assert!(leak.to_string().contains("`rope`"));
        assert_eq!(check_leakage(&[], &names(&["cone"])), Ok(()));
    }

    #[test]
    fn procedural_scans_leave_out_what_is_excluded_and_repeat_with_their_seed() {
        let preprocess = PreprocessParams::line();
        let kept = names(&["ring", "cone"]);
        let exclude: Vec<String> = Family::ALL
            .iter()
            .map(ToString::to_string)
            .filter(|name| !kept.contains(name))
            .map(|name| name.to_uppercase())
            .collect();
        let made = procedural(3, 4, &exclude, &preprocess).expect("objects are seen");
        let families: Vec<&str> = made.iter().map(|scan| scan.family.as_str()).collect();
        assert_eq!(families, ["ring", "cone", "ring", "cone"]);
        assert_ne!(made[0].frame.cloud, made[2].frame.cloud, "two products");
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        let again = alone.install(|| procedural(3, 4, &exclude, &preprocess)).expect("objects are seen");
        assert!(made.iter().zip(&again).all(|(a, b)| a.frame.cloud == b.frame.cloud && a.name == b.name));

        let all = Family::ALL.map(|family| family.to_string());
        assert!(procedural(3, 4, &all, &preprocess).expect("nothing to fail").is_empty());
    }

    #[test]
    fn a_pool_records_its_classes_and_refuses_one_under_test() {
        let [frame, _] = frames();
        let scan = |class: &str| {
            (class.to_owned(), Irrelevant::new(format!("{class}/0"), frame.clone(), &vec![0.0; MAP_LEN]))
        };
        let scans = vec![scan("rope"), scan("cone"), scan("rope")];
        let pool = Pool::new(PoolKind::PaperLike, scans.clone(), &names(&["ring"])).expect("no leak");
        assert_eq!((pool.classes, pool.scans.len()), (names(&["cone", "rope"]), 3));
        let leak = Pool::new(PoolKind::PaperLike, scans, &names(&["cone"])).expect_err("cone is under test");
        assert_eq!(leak.class, "cone");
    }
}
