//! `zal-export synth`: procedural scans in the MVTec 3D-AD layout, and the contact sheet.

mod contact_sheet;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use zal::synth::{Defect, Family, SynthParams, generate};

use crate::layout::{self, Split};

/// Longest side of a scan that is made, pixels.
const SIDE_MAX: usize = 4096;
/// Sessions that training scans come from; test scans see one more.
const TRAIN_SESSIONS: u64 = 3;

/// Arguments of `zal-export synth`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("result").required(true).multiple(true).args(["out", "contact_sheet"])))]
pub struct Args {
    /// New or empty folder for the data set
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Families to make, separated by commas [default: all ten]
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    families: Vec<Family>,
    /// Good scans to train on, per family
    #[arg(long, default_value_t = 16, value_name = "N")]
    train: usize,
    /// Good scans to validate on, per family [default: an eighth of --train]
    #[arg(long, value_name = "N")]
    validation: Option<usize>,
    /// Test scans per family: every fourth is good, the others take turns with the defects that fit
    #[arg(long, default_value_t = 16, value_name = "N")]
    test: usize,
    /// Seed: it chooses the product of each family, and all of its pieces
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
    /// Rows and columns of a scan
    #[arg(long, default_value = "400x400", value_name = "HxW", value_parser = parse_size)]
    size: [usize; 2],
    /// Also (or only) draw all families and defects on one picture
    #[arg(long, value_name = "F.png")]
    contact_sheet: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the folder is not empty or a file cannot be written.
pub fn run(args: &Args) -> Result<()> {
    if let Some(path) = &args.contact_sheet {
        let bytes = contact_sheet::draw()?;
        std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote the contact sheet {}", path.display());
    }
    if let Some(root) = &args.out {
        write_data_set(args, root)?;
    }
    Ok(())
}

/// Writes a class per family.
fn write_data_set(args: &Args, root: &Path) -> Result<()> {
    let families = if args.families.is_empty() { Family::ALL.to_vec() } else { args.families.clone() };
    layout::create_root(root)?;
    let mut jobs = Vec::new();
    for family in families {
        layout::write_camera(&root.join(family.name()), args.size[0], args.size[1])?;
        jobs.extend(plan(args, family));
    }
    ensure!(!jobs.is_empty(), "nothing to make: --train, --validation and --test are all 0");
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} scans, {eta} left")?;
    let progress = ProgressBar::new(u64::try_from(jobs.len())?).with_style(style);
    jobs.par_iter().try_for_each(|job| -> Result<()> {
        job.write(root)?;
        progress.inc(1);
        Ok(())
    })?;
    progress.finish_and_clear();
    eprintln!("wrote {} scans to {}", jobs.len(), root.display());
    Ok(())
}

/// One scan to be made.
#[derive(Debug)]
struct Job {
    split: Split,
    number: usize,
    params: SynthParams,
}

impl Job {
    fn write(&self, root: &Path) -> Result<()> {
        let class = root.join(self.params.family.name());
        let defect = self.params.defect.map_or("good", Defect::name);
        layout::write_scan(&class, self.split, defect, self.number, &generate(&self.params))
    }
}

/// All scans of a family.
fn plan(args: &Args, family: Family) -> Vec<Job> {
    let validation = args.validation.unwrap_or(args.train.div_ceil(8));
    let mut jobs = Vec::new();
    for (split, count) in
        [(Split::Train, args.train), (Split::Validation, validation), (Split::Test, args.test)]
    {
        let mut written: Vec<Option<Defect>> = Vec::new();
        for index in 0..count {
            let defect = if split == Split::Test { test_defect(family, index) } else { None };
            let number = written.iter().filter(|d| **d == defect).count();
            written.push(defect);
            jobs.push(Job { split, number, params: piece(args, family, (split, index), defect) });
        }
    }
    jobs
}

/// What the test scan of this index suffers from.
fn test_defect(family: Family, index: usize) -> Option<Defect> {
    let fitting: Vec<Defect> = Defect::ALL.into_iter().filter(|d| d.fits(family)).collect();
    (!index.is_multiple_of(4)).then(|| fitting[(index - index / 4 - 1) % fitting.len()])
}

/// The piece of this split and index. Sessions are drawn without regard to the defect, so that
/// no detector can tell a defect by its session.
fn piece(args: &Args, family: Family, (split, index): (Split, usize), defect: Option<Defect>) -> SynthParams {
    let number = index as u64;
    let sessions = if split == Split::Test { TRAIN_SESSIONS + 1 } else { TRAIN_SESSIONS };
    let session = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) % sessions;
    let [height, width] = args.size;
    let seed = (split as u64) << 32 | number;
    SynthParams { defect, height, width, variant: args.seed, session, ..SynthParams::new(family, seed) }
}

/// Reads `HxW`.
fn parse_size(text: &str) -> Result<[usize; 2], String> {
    let wanted = || format!("found {text:?}, expected rows x columns such as 400x400, each 1 to {SIDE_MAX}");
    let (height, width) = text.split_once('x').ok_or_else(wanted)?;
    match (height.parse(), width.parse()) {
        (Ok(height @ 1..=SIDE_MAX), Ok(width @ 1..=SIDE_MAX)) => Ok([height, width]),
        _ => Err(wanted()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn args(train: usize, test: usize) -> Args {
        Args {
            out: None,
            families: vec![],
            train,
            validation: None,
            test,
            seed: 5,
            size: [48, 40],
            contact_sheet: None,
        }
    }

    #[test]
    fn a_plan_mixes_good_parts_with_every_fitting_defect() {
        let jobs = plan(&args(9, 40), Family::Gland);
        let of = |split| jobs.iter().filter(move |j| j.split == split);
        assert_eq!((of(Split::Train).count(), of(Split::Validation).count()), (9, 2));
        let good = of(Split::Test).filter(|j| j.params.defect.is_none()).count();
        let kinds: BTreeSet<Defect> = of(Split::Test).filter_map(|j| j.params.defect).collect();
        assert_eq!((good, kinds.len()), (10, 11));
        let seeds: BTreeSet<u64> = jobs.iter().map(|j| j.params.seed).collect();
        assert_eq!(seeds.len(), jobs.len(), "no piece is in two splits");
        let names: BTreeSet<_> = jobs.iter().map(|j| (j.split, j.params.defect, j.number)).collect();
        assert_eq!(names.len(), jobs.len(), "no scan overwrites another");
    }

    #[test]
    fn good_and_defective_test_scans_come_from_the_same_sessions() {
        let jobs = plan(&args(0, 80), Family::Tyre);
        let sessions = |defective: bool| -> BTreeSet<u64> {
            jobs.iter().filter(|j| j.params.defect.is_some() == defective).map(|j| j.params.session).collect()
        };
        assert_eq!(sessions(true), sessions(false));
        assert_eq!(sessions(true).len(), 4);
    }

    #[test]
    fn sizes_are_read_and_bad_ones_explained() {
        assert_eq!(parse_size("480x640"), Ok([480, 640]));
        for bad in ["", "400", "0x4", "4x", "9999x10", "-1x5"] {
            assert!(parse_size(bad).expect_err("not a size").contains("400x400"), "{bad}");
        }
    }

    #[test]
    fn a_data_set_is_written_once() {
        let root = tempfile::tempdir().expect("a folder");
        let args = Args { families: vec![Family::Ring, Family::Rope], ..args(1, 2) };
        write_data_set(&args, root.path()).expect("written");
        let classes = layout::classes(root.path()).expect("classes");
        assert_eq!(classes.len(), 2);
        for class in classes {
            assert_eq!(layout::entries(&class, Split::Test).expect("scans").len(), 2);
        }
        assert!(write_data_set(&args, root.path()).expect_err("not empty").to_string().contains("not empty"));
    }
}
