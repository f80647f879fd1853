//! `zal inspect`: the intake doctor.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use zal::scan::{self, Inspection, MissingCounts, SensorProfile, Severity};

use crate::exit::{CommandResult, Exit, Failure};

/// What a sensor profile may hold.
const PROFILE_HINT: &str = "a profile has unit, axes, sentinel, [grid] height, width, and [extent] z_min_m, z_max_m, \
                            size_min_m, size_max_m; all are optional";

/// Arguments of `zal inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Scan files: the xyz .tiff of an MVTec pair, organised .pcd or .ply, or .npy
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Sensor profile (TOML): unit, axes, sentinel, grid, extent
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Print one JSON array instead of words
    #[arg(long)]
    json: bool,
}

/// Runs the command. The exit code is the worst of all files.
///
/// # Errors
/// When the profile cannot be used; a bad scan is told by the exit code.
pub fn run(args: &Args) -> CommandResult {
    let profile = args.profile.as_deref().map_or_else(|| Ok(SensorProfile::default()), load_profile)?;
    let inspections: Vec<Inspection> = args.files.iter().map(|file| scan::inspect(file, &profile)).collect();
    if args.json {
        let text = serde_json::to_string_pretty(&inspections).map_err(|e| Failure::new(Exit::Bug, e))?;
        println!("{text}");
    } else {
        inspections.iter().for_each(print_words);
    }
    let exits = inspections.iter().map(exit_of);
    Ok(exits.max_by_key(|exit| *exit as u8).unwrap_or(Exit::Ok))
}

fn load_profile(path: &Path) -> Result<SensorProfile, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let exit = if error.kind() == ErrorKind::NotFound { Exit::NoInput } else { Exit::Io };
        Failure::new(
            exit,
            anyhow::Error::new(error).context(format!("cannot read the profile {}", path.display())),
        )
    })?;
    let profile: SensorProfile = toml::from_str(&text)
        .with_context(|| format!("the profile {} is wrong", path.display()))
        .map_err(|error| Failure::new(Exit::Config, error).hint(PROFILE_HINT))?;
    match profile.contradiction() {
        None => Ok(profile),
        Some((found, expected)) => {
            let error = anyhow::anyhow!("the profile {} has {found}, expected {expected}", path.display());
            Err(Failure::new(Exit::Config, error).hint(PROFILE_HINT))
        }
    }
}

fn exit_of(inspection: &Inspection) -> Exit {
    if inspection.is_unreadable() {
        Exit::NoInput
    } else if inspection.accepted {
        Exit::Ok
    } else {
        Exit::BadData
    }
}

fn print_words(inspection: &Inspection) {
    println!("{}", inspection.path.display());
    if let (Some(format), Some(encoding), Some(layout)) =
        (inspection.format, &inspection.encoding, &inspection.layout)
    {
        println!("  format   {} ({encoding})", format.name());
        match (inspection.height, inspection.width) {
            (Some(height), Some(width)) => println!("  grid     {height} rows x {width} columns"),
            _ => println!("  grid     none: {layout}"),
        }
        print_points(inspection);
        match &inspection.color {
            Some(color) => println!(
                "  colour   {} x {}, {}",
                color.height,
                color.width,
                color.path.as_ref().map_or_else(|| "in the file".into(), |p| p.display().to_string())
            ),
            None => println!("  colour   none"),
        }
    }
    for finding in &inspection.findings {
        let severity = match finding.severity {
            Severity::Error => "ERROR  ",
            Severity::Warning => "warning",
        };
        println!("  {severity}  {}: found {}; expected {}", finding.code, finding.found, finding.expected);
        println!("           {}", finding.advice);
    }
    println!("  {}", if inspection.accepted { "accepted" } else { "refused" });
}

fn print_points(inspection: &Inspection) {
    println!(
        "  points   {}, {} measured ({:.1} % invalid{})",
        inspection.point_count,
        inspection.valid_count,
        100.0 * (1.0 - inspection.valid_share()),
        missing_words(&inspection.missing)
    );
    if let Some([low, high]) = inspection.extent_m {
        for (axis, name) in ["x", "y", "z"].iter().enumerate() {
            println!("  {name}        {:.4} to {:.4} m", low[axis], high[axis]);
        }
    }
}

/// `: 12 NaN, 3 zero`, without the reasons that do not occur.
fn missing_words(missing: &MissingCounts) -> String {
    let counts = [
        (missing.nan, "NaN"),
        (missing.infinite, "infinite"),
        (missing.zero, "zero"),
        (missing.sentinel, "sentinel"),
        (missing.out_of_range, "out of range"),
    ];
    let words: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, name)| format!("{n} {name}")).collect();
    if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) }
}
