//! `zal model confirm` and `zal model rollback`: a person decides. A running daemon sees it and follows.

use serde_json::json;
use zal::bundle::store::{Phase, Setback, SetbackCode, Store};

use super::{StoreArgs, print_json};
use crate::exit::{CommandResult, Exit, Failure};
use crate::telemetry::utc_now;
use crate::update::settings::Settings;
use crate::update::{refusal, status};

/// Arguments of `zal model confirm` and `zal model rollback`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Runs `zal model confirm`.
///
/// # Errors
/// When there is nothing to confirm.
pub fn confirm(args: &Args) -> CommandResult {
    let settings = args.store.settings()?;
    let mut store = settings.open_existing_store()?;
    let index = store.index().map_err(refusal::failure)?;
    let current = named(&store, &settings, index.current.as_deref())?;
    if args.dry_run {
        return said(
            args,
            "would_confirm",
            &format!("{current} would be confirmed; in state {}", index.phase.name()),
        );
    }
    store.confirm(&utc_now()).map_err(refusal::failure)?;
    let text = match index.phase {
        Phase::Trial(_) => format!("{current} is confirmed"),
        _ => format!("taken note of; {current} stays in charge"),
    };
    said(args, "confirmed", &text)
}

/// Runs `zal model rollback`.
///
/// # Errors
/// When there is nothing to go back to.
pub fn roll_back(args: &Args) -> CommandResult {
    let settings = args.store.settings()?;
    let mut store = settings.open_existing_store()?;
    let index = store.index().map_err(refusal::failure)?;
    let from = named(&store, &settings, index.current.as_deref())?;
    if args.dry_run {
        let factory = store.factory().map_err(refusal::failure)?;
        let to = named(&store, &settings, index.previous.or(factory).as_deref())?;
        return said(args, "would_roll_back", &format!("{to} would judge instead of {from}"));
    }
    let setback = Setback::new(SetbackCode::Manual, "somebody asked for it");
    let slot = store.roll_back(&setback, &utc_now()).map_err(refusal::failure)?;
    let to = named(&store, &settings, Some(&slot.sha256))?;
    said(
        args,
        "rolled_back",
        &format!("{to} judges again instead of {from}; a running daemon follows by itself"),
    )
}

fn said(args: &Args, outcome: &str, text: &str) -> CommandResult {
    if args.store.json {
        print_json(&json!({"outcome": outcome, "text": text}))?;
    } else {
        println!("{text}");
    }
    Ok(Exit::Ok)
}

fn named(store: &Store, settings: &Settings, sha256: Option<&str>) -> Result<String, Failure> {
    let Some(sha256) = sha256 else { return Ok("no bundle".into()) };
    let bundle = status::bundle(store, sha256, &settings.trusted_keys()?);
    Ok(if bundle.name.is_empty() { zal::bundle::store::short(sha256).into() } else { bundle.name })
}
