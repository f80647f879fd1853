//! `zal-export pseudo`: pictures of pseudo anomalies, to be looked at before a training run believes in them.

mod points;
mod row;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zal::features::pointnet::{Extraction, PatchParams, slots_at};
use zal::preprocess::{FRAME_SIZE, PreprocessParams, prepare};
use zal::scan::{ColorImage, SensorProfile, png, read};

use crate::attention::AttentionNet;
use crate::pseudo::pool::procedural;
use crate::pseudo::{Alteration, Frame, Irrelevant, Kinds, Pool, PoolKind, PseudoParams, alter};

use row::Row;

/// Procedural scans that stand in for irrelevant ones: one of each family.
const PROCEDURAL_COUNT: usize = 10;
/// Anchors tried for each row of the sheet before the part is given up.
const TRIES: usize = 2000;

/// Which points a patch takes, as arguments.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct PatchArgs {
    /// Which points a patch takes: the pixels around its anchor, or the nearest in space
    #[arg(long, value_enum, default_value_t = ExtractionArg::Lattice)]
    pub extraction: ExtractionArg,
    /// Rows and columns from one point of a patch to the next
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub stride: u8,
}

/// [`Extraction`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExtractionArg {
    /// The 8 x 8 pixel lattice
    Lattice,
    /// The 64 nearest points
    Nearest,
}

impl PatchArgs {
    /// The settings they stand for.
    #[must_use]
    pub fn params(&self) -> PatchParams {
        let extraction = match self.extraction {
            ExtractionArg::Lattice => Extraction::Lattice,
            ExtractionArg::Nearest => Extraction::Nearest,
        };
        PatchParams { extraction, stride_px: usize::from(self.stride) }
    }
}

/// Arguments of `zal-export pseudo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The part: a scan as `zal score` takes it
    #[arg(value_name = "SCAN")]
    pub scan: PathBuf,
    /// Folder that receives sheet.png and a picture of each row
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Scan that chunks are cut from [default: procedural parts, one of each family]
    #[arg(long, value_name = "SCAN")]
    pub irrelevant: Option<PathBuf>,
    /// Seed of the draws
    #[arg(long, default_value_t = 0, value_name = "S")]
    pub seed: u64,
    /// Rows of the sheet
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub anchors: u8,
    /// Which points a patch takes
    #[command(flatten)]
    pub patch: PatchArgs,
}

/// Gives a frame's activation map, row-major `[224 * 224]`.
pub type ActivationMap<'a> = dyn Fn(&Frame) -> Result<Vec<f32>> + 'a;

/// Runs the command. Chunks are cut where a random network's activation map is highest, as in training.
///
/// # Errors
/// As [`run_with`].
pub fn run(args: &Args) -> Result<()> {
    let network = RefCell::new(AttentionNet::random(args.seed)?);
    run_with(args, &|frame| Ok(network.borrow_mut().activation(&frame.cloud)?))
}

/// Runs the command with an activation map.
///
/// # Errors
/// When a scan cannot be read or shows no part, no anchor gives both kinds, or a file cannot be written.
pub fn run_with(args: &Args, map: &ActivationMap<'_>) -> Result<()> {
    let target = load(&args.scan)?;
    let pool = pool(args, map)?;
    let params = PseudoParams { patch: args.patch.params(), ..PseudoParams::default() };
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let mut rows: Vec<ColorImage> = Vec::new();
    for number in 0..args.anchors {
        let row = draw_row(&target, &pool, &params, &mut rng)?;
        println!("{number}: {}", row.words());
        rows.push(row.picture(&target, &pool, &params.patch));
    }
    for (number, picture) in rows.iter().enumerate() {
        write(
            &args.out.join(format!("anchor-{number:02}.png")),
            &row::with_titles(std::slice::from_ref(picture)),
        )?;
    }
    let sheet = args.out.join("sheet.png");
    write(&sheet, &row::with_titles(&rows))?;
    println!("wrote {}", sheet.display());
    Ok(())
}

fn load(path: &Path) -> Result<Frame> {
    let scan = read(path, &SensorProfile::default()).with_context(|| format!("scan {}", path.display()))?;
    let prepared =
        prepare(&scan, &PreprocessParams::line()).with_context(|| format!("scan {}", path.display()))?;
    Ok(Frame::of(&prepared))
}

/// The scan given, or procedural ones.
fn pool(args: &Args, map: &ActivationMap<'_>) -> Result<Pool> {
    let named: Vec<(String, String, Frame)> = match &args.irrelevant {
        Some(path) => vec![("given".to_owned(), path.display().to_string(), load(path)?)],
        None => procedural(args.seed, PROCEDURAL_COUNT, &[], &PreprocessParams::line())?
            .into_iter()
            .map(|made| (made.family, made.name, made.frame))
            .collect(),
    };
    let mut scans = Vec::new();
    for (class, name, frame) in named {
        let activation = map(&frame)?;
        ensure!(
            activation.len() == frame.cloud.points().len(),
            "the activation map of {name} has {} values, expected {}",
            activation.len(),
            frame.cloud.points().len()
        );
        scans.push((class, Irrelevant::new(name, frame, &activation)));
    }
    Ok(Pool::new(PoolKind::Strict, scans, &[])?)
}

/// Draws anchors until one is usable for both kinds.
fn draw_row(target: &Frame, pool: &Pool, params: &PseudoParams, rng: &mut ChaCha8Rng) -> Result<Row> {
    let measured = target.cloud.valid_indices();
    for _ in 0..TRIES {
        let pixel = measured[rng.next_u32() as usize % measured.len()];
        let anchor = (pixel / FRAME_SIZE, pixel % FRAME_SIZE);
        let Some(normal) = slots_at(&target.cloud, Some(&target.boxes), anchor, &params.patch) else {
            continue;
        };
        let mut of = |kinds: Kinds| -> Option<Alteration> {
            alter(target, anchor, pool, &PseudoParams { kinds, ..params.clone() }, rng)
        };
        if let (Some(adding), Some(removing)) = (of(Kinds::Adding), of(Kinds::Removing)) {
            return Ok(Row { anchor, normal, adding, removing });
        }
    }
    bail!("none of {TRIES} anchors gave both kinds of pseudo anomalies; is the part larger than a patch?")
}

fn write(path: &Path, picture: &ColorImage) -> Result<()> {
    let bytes = png::encode(picture).context("cannot encode the picture")?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use zal::synth::{Family, SynthParams, generate};

    use super::*;
    use crate::layout::{Split, write_scan};

    fn args(scan: PathBuf, out: PathBuf) -> Args {
        let patch = PatchArgs { extraction: ExtractionArg::Nearest, stride: 2 };
        Args { irrelevant: Some(scan.clone()), scan, out, seed: 1, anchors: 2, patch }
    }

    #[test]
    fn pictures_are_written_and_repeat_with_their_seed() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = generate(&SynthParams::new(Family::Tuber, 4));
        write_scan(folder.path(), Split::Train, "good", 0, &made).expect("written");
        let scan = folder.path().join("train/good/xyz/000.tiff");
        let [first, again] = ["first", "again"].map(|name| folder.path().join(name));
        run(&args(scan.clone(), first.clone())).expect("drawn");
        run(&args(scan.clone(), again.clone())).expect("drawn again");
        for name in ["sheet.png", "anchor-00.png", "anchor-01.png"] {
            let [a, b] = [&first, &again].map(|folder| fs::read(folder.join(name)).expect("a picture"));
            assert!(a == b, "{name} differs");
            let picture = png::decode(&a).expect("a PNG");
            let colors: std::collections::BTreeSet<[u8; 3]> = picture.pixels.iter().copied().collect();
            assert!(colors.len() > 100 && picture.width > 1000, "{name}: {} colours", colors.len());
        }
        let short = run_with(&args(scan, first), &|_| Ok(vec![0.0; 3])).expect_err("no map").to_string();
        assert!(short.contains("3 values"), "{short}");
    }
}
