//! `zal report`: what the journal says of a stretch of time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::config;
use crate::exit::{CommandResult, Exit, Failure};
use crate::journal::{Journal, Report};

/// Arguments of `zal report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Since when: `30m`, `24h`, `7d`, a date `2026-11-01` or a UTC time `2026-11-01T06:00:00Z`
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = since)]
    since: String,
    /// The configuration file, which names the journal
    #[arg(short, long, value_name = "FILE", default_value = "/etc/zal/zal.toml")]
    config: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the configuration or the journal cannot be used.
pub fn run(args: &Args) -> CommandResult {
    let journal = open_journal(&args.config)?;
    let report = journal.report(&args.since).map_err(|error| Failure::new(Exit::Io, error))?;
    if args.json {
        let text = serde_json::to_string(&report).map_err(|error| Failure::new(Exit::Bug, error))?;
        println!("{text}");
    } else {
        print_words(&report);
    }
    Ok(Exit::Ok)
}

/// The journal that a configuration names, which must exist.
///
/// # Errors
/// When the configuration or the journal cannot be used.
pub(super) fn open_journal(config_path: &Path) -> Result<Journal, Failure> {
    let config = config::load(config_path).map_err(super::run::config_failure)?;
    let path = &config.journal.path;
    if !path.exists() {
        let error = anyhow!("there is no journal {}", path.display());
        return Err(Failure::new(Exit::NoInput, error).hint("zal run makes it; check journal.path"));
    }
    Journal::open_existing(path, &config.journal.spill_dir).map_err(|error| {
        Failure::new(Exit::Io, error)
            .hint("zal run sets a damaged journal aside and saves what is left of it")
    })
}

fn print_words(report: &Report) {
    println!("since {}", report.since);
    match report.seq {
        Some([first, last]) => println!("  parts      {}, seq {first} to {last}", report.part_count),
        None => println!("  parts      none"),
    }
    for (evaluation, count) in &report.evaluations {
        println!("    {evaluation:<15} {count}");
    }
    if !report.reasons.is_empty() {
        println!("  reasons");
    }
    for (code, count) in &report.reasons {
        println!("    {code:<25} {count}");
    }
    println!("  missing    {} seqs between them", report.missing_seq_count);
    println!("  un-acked   {} results of any time", report.unacked_count);
    if report.only_in_memory_count > 0 {
        println!("  in memory  {} results wait for the disk", report.only_in_memory_count);
    }
    for (kind, count, last) in &report.dropped {
        println!("  removed    {count} {kind} because of the size limit, the last was seq {last}");
    }
    for (time, code, text) in &report.events {
        println!("  event      {time} {code}: {text}");
    }
}

/// A time as the journal writes it.
fn since(text: &str) -> anyhow::Result<String> {
    let wrong = || anyhow!("found {text:?}, expected 30m, 24h, 7d, 2026-11-01 or 2026-11-01T06:00:00Z");
    let time = match duration(text) {
        Some(span) => jiff::Timestamp::now().checked_sub(span).context("that is before all time")?,
        None if text.contains('T') => text.parse().map_err(|_| wrong())?,
        None => format!("{text}T00:00:00Z").parse().map_err(|_| wrong())?,
    };
    Ok(format!("{time:.3}"))
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_journal_writes_them() {
        assert_eq!(since("2026-11-01").unwrap(), "2026-11-01T00:00:00.000Z");
        assert_eq!(since("2026-11-01T06:00:00+02:00").unwrap(), "2026-11-01T04:00:00.000Z");
        let (day, week) = (since("24h").unwrap(), since("7d").unwrap());
        assert!(week < day && day < crate::telemetry::utc_now());
        for wrong in ["", "h", "yesterday", "2026-13-01", "-5h", "ü"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
