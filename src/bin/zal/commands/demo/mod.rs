//! `zal demo`: the main job on procedural scans, through the real parts. Real files, the
//! daemon of `zal run`, a broker, and a subscriber that knows nothing but the messages.

mod page;
mod parts;
mod subscriber;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Serialize;
use zal::detector::Mode;
use zal::metrics::{MaskedMap, aupro, auroc};

use crate::config::{self, Config};
use crate::daemon::{self, Daemon, Signals};
use crate::exit::{CommandResult, Exit, Failure};
use crate::message::{EngineBody, EvaluationBody, ResultBody};
use crate::{bundled, npy_map, telemetry};
use parts::{Part, Plan};
use subscriber::{Subscriber, Verdict};

/// Scans on their way at a time: one is judged while the next is written.
const AHEAD_COUNT: usize = 2;
/// A verdict that takes longer than this is counted as lost.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(120);
/// Marks a folder that a demo may empty again.
const MARKER: &str = ".zal-demo";

/// Arguments of `zal demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Number of parts
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(2..=2_000))]
    scans: u64,
    /// Family of the parts
    #[arg(long, default_value = parts::DEFAULT_FAMILY)]
    family: String,
    /// Use this broker (mqtt://host:port) instead of the embedded one
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// Where the page and its pictures go
    #[arg(long, value_name = "DIR", default_value = "zal-demo")]
    out: PathBuf,
    /// Print one closing JSON object on stdout, everything else on stderr
    #[arg(long)]
    json: bool,
    /// Seed of the parts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads within one network
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
    /// Use this bundle instead of the embedded one
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
}

/// The closing figures.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    scans: usize,
    results: u64,
    received: usize,
    lost: usize,
    duplicates: usize,
    calibration_scans: usize,
    ok: usize,
    not_ok: usize,
    not_decidable: usize,
    undefined: usize,
    image_auroc: Option<f64>,
    aupro: Option<f64>,
    threshold: Option<f32>,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    latency_p50_ms: Option<f64>,
    engine: String,
    provider: String,
    bundle: String,
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When the demo cannot run; a lost result is one of the reasons.
pub fn run(args: &Args) -> CommandResult {
    // The embedded broker calls a closed connection an error.
    telemetry::start_log("warn,rumqttd=off", false);
    let family = parts::family(&args.family).map_err(|error| Failure::new(Exit::Usage, error))?;
    let out = prepare_out(&args.out)
        .map_err(|error| Failure::new(Exit::Io, error).hint("choose another folder with --out"))?;
    let bundle = bundled::open(args.bundle.as_deref())?;
    let broker = open_broker(args.broker.as_deref())?;
    let plan = Plan::new(family, usize::try_from(args.scans).unwrap_or(24), args.seed);
    let config = demo_config(&broker, &out, plan.calibration_count, args.threads);
    let daemon = daemon::start(&config, &bundle, Signals::Default)?;
    let say = Say { json: args.json };
    say.line(&format!(
        "{} parts of the family \"{}\" through bundle {} on {} ({}), broker {broker}",
        plan.parts.len(),
        args.family,
        bundle.name(),
        daemon.engine().name,
        daemon.engine().provider
    ));
    say.line(&format!(
        "The first {} parts are good and set the threshold as they come; no verdict is given on them.",
        plan.calibration_count
    ));
    let mut demo = Demo { plan, config, out, say, verdicts: BTreeMap::new(), duplicates: 0 };
    let engine = daemon.engine().clone();
    let metrics = std::sync::Arc::clone(daemon.metrics());
    demo.judge_all(daemon).map_err(|error| Failure::new(Exit::Unavailable, error))?;
    let results = {
        let c = metrics.counts();
        c.ok + c.not_ok + c.not_decidable + c.undefined
    };
    let summary = demo.summary(results, &engine, &bundle.name());
    demo.finish(&summary).map_err(|error| Failure::new(Exit::Io, error))?;
    if summary.lost > 0 {
        return Err(Failure::new(Exit::Unavailable, anyhow::anyhow!("{} results were lost", summary.lost)));
    }
    Ok(Exit::Ok)
}

/// The broker given, or an embedded one.
fn open_broker(url: Option<&str>) -> Result<String, Failure> {
    match url {
        Some(url) => Ok(url.to_owned()),
        #[cfg(feature = "demo")]
        None => crate::broker::start().map_err(|error| Failure::new(Exit::Unavailable, error)),
        #[cfg(not(feature = "demo"))]
        None => {
            let error = anyhow::anyhow!("this program was built without the embedded broker");
            Err(Failure::new(Exit::Usage, error).hint("give one with --broker mqtt://host:port"))
        }
    }
}

/// Makes the output folder empty. A folder that no demo made is left alone.
fn prepare_out(out: &Path) -> anyhow::Result<PathBuf> {
    let ours = out.join(MARKER).exists();
    if !ours && out.exists() && fs::read_dir(out)?.next().is_some() {
        bail!("{} is not empty and was not made by a demo", out.display());
    }
    if ours {
        fs::remove_dir_all(out).with_context(|| format!("cannot empty {}", out.display()))?;
    }
    fs::create_dir_all(out.join("images")).with_context(|| format!("cannot make {}", out.display()))?;
    fs::write(out.join(MARKER), "made by `zal demo`, which may empty this folder\n")?;
    Ok(out.canonicalize()?)
}

/// The configuration of the daemon that the demo runs.
fn demo_config(broker: &str, out: &Path, calibration_count: usize, threads: u64) -> Config {
    Config {
        device: config::Device {
            site: "demo".into(),
            area: "table".into(),
            line: "line1".into(),
            cell: "cell1".into(),
            device: format!("zal-{}", std::process::id()),
        },
        reference: config::Reference::default(),
        spool: config::Spool {
            dir: out.join("spool"),
            recipe: "demo".into(),
            recipe_separator: None,
            poll_interval_ms: 200,
            settle_ms: 0,
            queue_len_max: AHEAD_COUNT,
            keep_done_count: usize::MAX,
            picture_wait_ms: 0,
            tries_max: 3,
        },
        detector: config::Detector { bundle: None, mode: Mode::default(), selftest: false },
        update: config::Update::default(),
        engine: config::Engine {
            threads: usize::try_from(threads).unwrap_or(1),
            runtime_library: std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from),
            ..config::Engine::default()
        },
        calibration: config::Calibration {
            from_first_count: calibration_count,
            false_reject_rate: Some(0.05),
        },
        deadline: config::Deadline::default(),
        journal: config::Journal {
            path: out.join("journal.db"),
            size_max_mb: 256,
            spill_dir: "/dev/shm".into(),
        },
        evidence: config::Evidence {
            dir: Some(out.join("evidence")),
            overlays: true,
            maps: true,
            keep_count: usize::MAX,
        },
        mqtt: config::Mqtt {
            url: broker.to_owned(),
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            username: None,
            password_file: None,
            certificate_warn_days: 30,
            home_assistant_prefix: None,
            keep_alive_s: 10,
        },
        http: config::Http { enabled: false, listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) },
        health: config::Health::default(),
        sensor: zal::scan::SensorProfile::default(),
    }
}

/// Where words go: stdout, or stderr when stdout belongs to the JSON.
struct Say {
    json: bool,
}

impl Say {
    fn line(&self, text: &str) {
        if self.json { eprintln!("{text}") } else { println!("{text}") }
    }
}

/// What the demo knows while it runs.
struct Demo {
    plan: Plan,
    config: Config,
    out: PathBuf,
    say: Say,
    /// By part name: when its scan came in, and what was heard of it.
    verdicts: BTreeMap<String, Verdict>,
    duplicates: usize,
}

impl Demo {
    /// Writes the parts into the spool as a line would, and hears the verdicts.
    fn judge_all(&mut self, daemon: Daemon) -> anyhow::Result<()> {
        let subscriber = Subscriber::start(&self.config.mqtt.url, &self.config.device.topic_base())?;
        let stopper = daemon.stopper();
        let running = std::thread::spawn(move || daemon.run_to_end(|_| None::<()>).map(drop));
        let heard = self.feed(&subscriber);
        stopper.stop();
        let ended = running.join().map_err(|_| anyhow::anyhow!("the daemon panicked"))?;
        heard.and(ended)
    }

    fn feed(&mut self, subscriber: &Subscriber) -> anyhow::Result<()> {
        let incoming = self.config.spool.dir.join("incoming");
        let mut written_at = BTreeMap::new();
        let mut parts = std::mem::take(&mut self.plan.parts);
        for part in &mut parts {
            part.write(&incoming, &self.out)?;
            written_at.insert(part.name.clone(), Instant::now());
            while written_at.len() - self.verdicts.len() >= AHEAD_COUNT {
                if !self.hear(subscriber, &written_at) {
                    break;
                }
            }
        }
        while self.verdicts.len() < written_at.len() {
            if !self.hear(subscriber, &written_at) {
                break;
            }
        }
        self.plan.parts = parts;
        Ok(())
    }

    /// Waits for one verdict; false when none comes.
    fn hear(&mut self, subscriber: &Subscriber, written_at: &BTreeMap<String, Instant>) -> bool {
        let Some(result) = subscriber.next(VERDICT_TIMEOUT) else { return false };
        let Some(at) = written_at.get(&result.part_id) else { return true };
        self.say.line(&describe(&result));
        let verdict = Verdict { latency: at.elapsed(), result };
        if self.verdicts.insert(verdict.result.part_id.clone(), verdict).is_some() {
            self.duplicates += 1;
        }
        true
    }

    /// The closing figures.
    fn summary(&self, results: u64, engine: &EngineBody, bundle: &str) -> Summary {
        let count = |e| self.verdicts.values().filter(|v| v.result.evaluation == e).count();
        let scores = |defective: bool| -> Vec<f32> {
            let wanted = self.plan.parts.iter().filter(|p| p.is_defective() == defective);
            wanted.filter_map(|p| self.verdicts.get(&p.name)?.result.score).collect()
        };
        let mut spent: Vec<f64> = self.verdicts.values().map(|v| spent_ms(&v.result)).collect();
        let mut latency: Vec<f64> = self.verdicts.values().map(|v| v.latency.as_secs_f64() * 1e3).collect();
        spent.sort_by(f64::total_cmp);
        latency.sort_by(f64::total_cmp);
        Summary {
            scans: self.plan.parts.len(),
            results,
            received: self.verdicts.len(),
            lost: self.plan.parts.len() - self.verdicts.len(),
            duplicates: self.duplicates,
            calibration_scans: self.plan.calibration_count,
            ok: count(EvaluationBody::Ok),
            not_ok: count(EvaluationBody::NotOk),
            not_decidable: count(EvaluationBody::NotDecidable),
            undefined: count(EvaluationBody::Undefined),
            image_auroc: auroc(&scores(false), &scores(true)).map(rounded),
            aupro: aupro(&self.masked_maps()).map(rounded),
            threshold: self.verdicts.values().find_map(|v| v.result.threshold),
            p50_ms: quantile(&spent, 50),
            p95_ms: quantile(&spent, 95),
            latency_p50_ms: quantile(&latency, 50),
            engine: engine.name.clone(),
            provider: engine.provider.clone(),
            bundle: bundle.to_owned(),
            out: self.out.clone(),
        }
    }

    /// The maps that the daemon left as evidence, with their ground truth.
    fn masked_maps(&self) -> Vec<MaskedMap> {
        let names = fs::read_dir(self.out.join("evidence")).into_iter().flatten();
        let paths: Vec<PathBuf> = names.filter_map(|entry| Some(entry.ok()?.path())).collect();
        let find = |part: &Part| {
            let ending = format!("-{}.npy", part.name);
            let path = paths.iter().find(|path| path.to_string_lossy().ends_with(&ending))?;
            let scores = npy_map::read(path).ok().filter(|s| s.len() == part.mask.len())?;
            Some(MaskedMap { scores, mask: part.mask.clone(), width: part.width, object: None })
        };
        self.plan.parts.iter().filter_map(find).collect()
    }

    /// Writes the page and says the closing words.
    fn finish(&self, summary: &Summary) -> anyhow::Result<()> {
        let page = self.out.join("index.html");
        fs::write(&page, page::render(summary, &self.plan.parts, &self.verdicts))?;
        let figure = |f: Option<f64>| f.map_or("none".to_owned(), |f| format!("{f:.3}"));
        self.say.line(&format!(
            "{} scans, {} received, {} lost: {} ok, {} not ok, {} not decidable, {} for the threshold",
            summary.scans,
            summary.received,
            summary.lost,
            summary.ok,
            summary.not_ok,
            summary.not_decidable,
            summary.undefined
        ));
        self.say.line(&format!(
            "image AUROC {}, AUPRO (published rule, limit 0.3) {}, {} ms a scan (median)",
            figure(summary.image_auroc),
            figure(summary.aupro),
            summary.p50_ms.map_or("?".to_owned(), |ms| format!("{ms:.0}"))
        ));
        self.say.line(&format!("Look at {}", page.display()));
        if self.say.json {
            println!("{}", serde_json::to_string(summary)?);
        }
        Ok(())
    }
}

/// One line of a verdict.
fn describe(result: &ResultBody) -> String {
    let number = |n: Option<f32>| n.map_or("-".to_owned(), |n| format!("{n:.3}"));
    let region = result.regions.first().map_or_else(String::new, |region| {
        let [left, top, width, height] = region.bbox_px;
        format!("  region {width}x{height} px at ({left}, {top}), {:.0} mm2", region.area_mm2)
    });
    let why = result.reasons.first().map_or_else(String::new, |r| format!("  {}: {}", r.code, r.text));
    format!(
        "{:>4}  {:<13}  score {:>7}  p {:>5}  {:>5.0} ms  {}{region}{why}",
        result.seq,
        result.evaluation.as_str(),
        number(result.score),
        number(result.p_value),
        spent_ms(result),
        result.part_id,
    )
}

/// Milliseconds of reading and judging a scan, without waiting in the queue.
fn spent_ms(result: &ResultBody) -> f64 {
    let stages = result.timing_ms.iter().filter(|(name, _)| *name != "wait" && *name != "total");
    stages.filter_map(|(_, ms)| ms.as_f64()).sum()
}

/// A percentile of ascending values, nearest rank.
fn quantile(ascending: &[f64], percent: usize) -> Option<f64> {
    let rank = (ascending.len() * percent).div_ceil(100).max(1);
    ascending.get(rank - 1).map(|ms| (ms * 10.0).round() / 10.0)
}

/// Four decimals are more than so few parts can tell.
fn rounded(figure: f64) -> f64 {
    (figure * 1e4).round() / 1e4
}
