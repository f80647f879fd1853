//! `zal selftest`: judges the bundle's golden scans again and compares the figures.

use super::detector_args::{DetectorArgs, Judge};
use crate::bundled;
use crate::exit::{CommandResult, Exit, Failure};

/// Arguments of `zal selftest`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    detector: DetectorArgs,
    /// Print one JSON object a golden scan
    #[arg(long)]
    json: bool,
}

/// Runs the command. Exit code 12 when a figure is not the expected one.
///
/// # Errors
/// When the detector cannot be made, or the bundle holds no golden scan for the mode.
pub fn run(args: &Args) -> CommandResult {
    let Judge { mut detector, origin } = args.detector.open()?;
    let bundle = bundled::open(args.detector.bundle.as_deref())?;
    let outcomes = bundle.golden_test(&mut detector).map_err(|error| Failure::new(Exit::BadData, error))?;
    if outcomes.is_empty() {
        let error =
            anyhow::anyhow!("{} holds no golden scan for mode `{}`", bundle.name(), origin.mode.name());
        return Err(Failure::new(Exit::BadData, error)
            .hint("its maker adds one with `zal-export pack --golden SCAN`; `zal-export make` always does"));
    }
    for outcome in &outcomes {
        if args.json {
            let text = serde_json::to_string(outcome).map_err(|error| Failure::new(Exit::Bug, error))?;
            println!("{text}");
            continue;
        }
        let verdict = if outcome.passed() { "as expected" } else { "NOT as expected" };
        let found = outcome.found.as_ref().map_or_else(|| "none".to_owned(), |f| format!("{:.4}", f.score));
        println!(
            "{}: {verdict} on {} ({}): score {found}, expected {:.4} (made with {}, {}); deviation {:.1e}, allowed {:.0e}",
            outcome.points,
            origin.engine.engine,
            origin.engine.provider,
            outcome.expected.score,
            outcome.expected.engine,
            outcome.expected.provider,
            outcome.deviation,
            outcome.tolerance
        );
    }
    Ok(if outcomes.iter().all(zal::bundle::GoldenOutcome::passed) {
        Exit::Ok
    } else {
        Exit::SelfTestMismatch
    })
}
