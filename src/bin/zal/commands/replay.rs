//! `zal replay`: has results of the journal published again.

use std::path::PathBuf;

use anyhow::anyhow;

use super::report::open_journal;
use crate::exit::{CommandResult, Exit, Failure};

/// Arguments of `zal replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// First seq
    #[arg(long, value_name = "SEQ")]
    from: u64,
    /// Last seq
    #[arg(long, value_name = "SEQ")]
    to: u64,
    /// The configuration file, which names the journal
    #[arg(short, long, value_name = "FILE", default_value = "/etc/zal/zal.toml")]
    config: PathBuf,
    /// Only say how many there are
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command. A running daemon publishes the results within a second, one that does
/// not run at its next start; they are marked `historical`.
///
/// # Errors
/// When the range is empty, or the journal cannot be used or has none of it.
pub fn run(args: &Args) -> CommandResult {
    if args.from > args.to {
        let error = anyhow!("--from is {}, --to is {}, expected --from not above --to", args.from, args.to);
        return Err(Failure::new(Exit::Usage, error));
    }
    let journal = open_journal(&args.config)?;
    let count = journal
        .replay(&(args.from..=args.to), args.dry_run)
        .map_err(|error| Failure::new(Exit::Io, error))?;
    if count == 0 {
        let error = anyhow!("the journal has no result from seq {} to {}", args.from, args.to);
        let hint =
            "zal report shows which seqs it has; older ones were removed because of journal.size_max_mb";
        return Err(Failure::new(Exit::NoInput, error).hint(hint));
    }
    let asked = (args.to - args.from).saturating_add(1);
    if args.json {
        let body = serde_json::json!({ "marked": count, "asked": asked, "dry_run": args.dry_run });
        println!("{body}");
    } else {
        let what =
            if args.dry_run { "would be published again" } else { "are published again, as historical" };
        println!("{count} of {asked} results {what}");
    }
    Ok(Exit::Ok)
}
