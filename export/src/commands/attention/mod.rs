//! `zal-export attention`: the activation map of a residual network over a scan, as a picture.
//!
//! With random weights always, because training uses those; beside it with trained ones when a checkpoint is
//! given, which is the variant that the paper compares with.

mod picture;

use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;
use zal::detector::{Mode, ModeParams};
use zal::preprocess::{FRAME_SIZE, FrameWindow, PreparedScan, prepare};
use zal::scan::{SensorProfile, read};

use super::bank::parse_mode;
use crate::attention::{AttentionNet, Concentration, concentration};

/// Arguments of `zal-export attention`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The scan: any format that `zal score` reads
    #[arg(value_name = "SCAN")]
    scan: PathBuf,
    /// The picture
    #[arg(long, value_name = "F.png")]
    out: PathBuf,
    /// `random`, or a resnet50 checkpoint (.pth, .pt, .safetensors) to be shown beside random weights
    #[arg(long, default_value = "random", value_name = "random|FILE")]
    weights: PathBuf,
    /// Seed of the random weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Whose preprocessing makes the frame: `line` (object crop) or `paper` (whole scan)
    #[arg(long, default_value = "line", value_parser = parse_mode)]
    mode: Mode,
    /// Print one JSON object instead of words
    #[arg(long)]
    json: bool,
}

/// What was drawn.
#[derive(Debug, Serialize)]
struct Report {
    picture: PathBuf,
    measured_count: usize,
    maps: Vec<MapReport>,
}

/// One map.
#[derive(Debug, Serialize)]
struct MapReport {
    weights: String,
    #[serde(flatten)]
    concentration: Concentration,
    /// Row and column of the top-valued point in the frame.
    peak_frame_px: [usize; 2],
    /// The same place in the scan.
    peak_scan_px: [f32; 2],
}

/// A map with its name.
struct NamedMap {
    title: String,
    values: Vec<f32>,
    concentration: Concentration,
}

/// Runs the command.
///
/// # Errors
/// When the scan or the weights cannot be read, nothing is on the scan, or the map is constant.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let scan = read(&args.scan, &SensorProfile::default())?;
    let prepared = prepare(&scan, &ModeParams::of(args.mode).preprocess)
        .with_context(|| format!("preparing {}", args.scan.display()))?;
    let title = format!("RANDOM RESNET50 (SEED {})", args.seed);
    let mut maps = vec![map_of(title, AttentionNet::random(args.seed)?, &prepared)?];
    if args.weights.as_os_str() != "random" {
        let net = AttentionNet::from_checkpoint(&args.weights)?;
        let stem = args.weights.file_stem().unwrap_or_default().to_string_lossy();
        maps.push(map_of(format!("TRAINED {stem}"), net, &prepared)?);
    }
    let image = picture::draw(&scan, &prepared, &maps);
    let bytes = zal::scan::png::encode(&image).context("cannot encode the picture")?;
    std::fs::write(&args.out, bytes).with_context(|| format!("cannot write {}", args.out.display()))?;
    print(args, &prepared, &maps)
}

fn map_of(title: String, mut net: AttentionNet, prepared: &PreparedScan) -> anyhow::Result<NamedMap> {
    let values = net.activation(&prepared.cloud).with_context(|| title.to_lowercase())?;
    let concentration =
        concentration(&values, &prepared.cloud).context("the prepared scan has no measured points")?;
    Ok(NamedMap { title, values, concentration })
}

fn print(args: &Args, prepared: &PreparedScan, maps: &[NamedMap]) -> anyhow::Result<()> {
    let maps = maps.iter().map(|map| MapReport::new(map, &prepared.window)).collect();
    let report = Report { picture: args.out.clone(), measured_count: prepared.cloud.valid_count(), maps };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    println!("{}: {} measured points in the frame", report.picture.display(), report.measured_count);
    for map in &report.maps {
        let [row, column] = map.peak_scan_px;
        println!(
            "  {}: {:.4} to {:.4}, highest at scan row {row:.0}, column {column:.0}; {:.1} % of the measured \
             pixels above half of the range",
            map.weights,
            map.concentration.min,
            map.concentration.max,
            100.0 * map.concentration.upper_half_share
        );
    }
    Ok(())
}

impl MapReport {
    #[expect(clippy::cast_precision_loss, reason = "coordinates of a frame")]
    fn new(map: &NamedMap, window: &FrameWindow) -> Self {
        let [row, column] = [map.concentration.peak / FRAME_SIZE, map.concentration.peak % FRAME_SIZE];
        let on_scan = |start: f32, pixel: usize| start + (pixel as f32 + 0.5) * window.px_per_frame_px - 0.5;
        Self {
            weights: map.title.to_lowercase(),
            concentration: map.concentration,
            peak_frame_px: [row, column],
            peak_scan_px: [on_scan(window.top_px, row), on_scan(window.left_px, column)],
        }
    }
}
