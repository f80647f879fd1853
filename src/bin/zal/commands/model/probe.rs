//! `zal model probe`: the child that tests a bundle for `zal model install`. It loads the bundle as the
//! daemon would, judges its golden scans, and times it. Its lines are JSON (`update::probe::Line`).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use zal::bundle::{Bundle, GoldenOutcome, TrustedKeys};
use zal::detector::{Detector, Mode};
use zal::scan::Scan;
use zal::synth::{Family, SynthParams, generate};

use crate::exit::{CommandResult, Exit, Failure};
use crate::update::probe::{Line, Report};
use crate::{bundled, config};

/// Detections that are timed, when they do not take too long.
const TIMED_COUNT: usize = 5;
/// After this long two timed detections are enough.
const TIMED_MAX: Duration = Duration::from_secs(60);
/// Rows and columns of the scan that stands in when a bundle holds no golden one.
const STAND_IN_PX: usize = 400;

/// Arguments of `zal model probe`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle to load
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// The bundle whose golden scans are timed
    #[arg(long, value_name = "FILE")]
    scans: PathBuf,
    /// `line` or `paper`
    #[arg(long)]
    mode: String,
    /// `[engine]` of the configuration as JSON
    #[arg(long, value_name = "JSON")]
    engine: String,
    /// Folders of trusted keys
    #[arg(long, value_name = "DIR")]
    keys: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the bundle cannot be loaded or its golden scans not be read.
pub fn run(args: &Args) -> CommandResult {
    let usage = |error: serde_json::Error| Failure::new(Exit::Usage, error);
    let engine: config::Engine = serde_json::from_str(&args.engine).map_err(usage)?;
    let mode: Mode = serde_json::from_value(args.mode.clone().into()).map_err(usage)?;
    let _ = rayon::ThreadPoolBuilder::new().num_threads(engine.threads).build_global();
    let trusted = bundled::trusted_keys(&args.keys)?;
    let bundle = Bundle::open(&args.bundle, &trusted).map_err(bundled::refused)?;

    say(&Line::Stage("loading the networks".into()));
    let start = Instant::now();
    let bad = |error| Failure::new(Exit::BadData, error);
    let mut detector = bundle.detector(mode, &engine.options()).map_err(bad)?;
    let load_ms = ms(start.elapsed());

    say(&Line::Stage("judging its golden scans".into()));
    let outcomes = bundle.golden_test(&mut detector).map_err(bad)?;
    let mismatches = outcomes.iter().filter(|outcome| !outcome.passed()).map(words).collect();

    say(&Line::Stage("timing it".into()));
    let scans = scans(&args.scans, &trusted, mode)?;
    let (times, cpu_ms) = timed(&mut detector, &scans);
    say(&Line::Report(Report {
        engine: detector.engine(),
        load_ms,
        golden_count: outcomes.len(),
        mismatches,
        scan_ms: times.first().copied().unwrap_or_default(),
        cpu_ms,
        timed_count: times.len(),
    }));
    Ok(Exit::Ok)
}

fn say(line: &Line) {
    println!("{}", serde_json::to_string(line).expect("plain data"));
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// What is wrong with a golden scan.
fn words(outcome: &GoldenOutcome) -> String {
    let score = outcome.found.as_ref().map_or_else(|| "none".to_owned(), |f| format!("{:.4}", f.score));
    format!(
        "{}: score {score}, expected {:.4} (made with {}, {}), deviation {:.1e}, allowed {:.0e}",
        outcome.points,
        outcome.expected.score,
        outcome.expected.engine,
        outcome.expected.provider,
        outcome.deviation,
        outcome.tolerance
    )
}

/// The golden scans of a bundle for a mode, or a procedural part when it holds none.
fn scans(path: &Path, trusted: &TrustedKeys, mode: Mode) -> Result<Vec<Scan>, Failure> {
    let bundle = Bundle::open(path, trusted).map_err(bundled::refused)?;
    let golden = bundle.manifest().golden.iter().filter(|g| g.expected.iter().any(|e| e.mode == mode));
    let scans: Result<Vec<Scan>, _> = golden.map(|golden| bundle.golden_scan(golden)).collect();
    let scans = scans.map_err(bundled::refused)?;
    if !scans.is_empty() {
        return Ok(scans);
    }
    let params = SynthParams {
        family: Family::Tuber,
        defect: None,
        height: STAND_IN_PX,
        width: STAND_IN_PX,
        variant: 1,
        session: 1,
        seed: 1,
    };
    Ok(vec![generate(&params).scan])
}

/// Milliseconds of each detection, ascending. Whatever else the machine does can only make one slower. The golden test was the warm-up; without golden scans the
/// first detection is.
fn timed(detector: &mut Detector, scans: &[Scan]) -> (Vec<f64>, f64) {
    let begin = Instant::now();
    let (mut times, mut cpu_least) = (Vec::new(), f64::INFINITY);
    for scan in scans.iter().cycle().take(TIMED_COUNT + 1) {
        let (start, cpu_start) = (Instant::now(), cpu_ms());
        detector.detect(scan);
        times.push(ms(start.elapsed()));
        cpu_least = cpu_least.min(cpu_ms() - cpu_start);
        if times.len() > 2 && begin.elapsed() > TIMED_MAX {
            break;
        }
    }
    if times.len() > 1 {
        times.remove(0);
    }
    times.sort_by(f64::total_cmp);
    (times, cpu_least)
}

/// Milliseconds of processor time of this process so far, in the kernel's steps of ten.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The program's name, in parentheses, may hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * 10.0
}
