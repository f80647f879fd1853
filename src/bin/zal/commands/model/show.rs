//! `zal model show`: what a bundle holds and where it came from.

use serde_json::json;
use zal::bundle::Bundle;

use super::{StoreArgs, print_json, verify};
use crate::bundled;
use crate::exit::{CommandResult, Exit};

/// Arguments of `zal model show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A .zalb file, or the first digits of a bundle of the store [default: the bundle in charge]
    #[arg(value_name = "FILE|DIGITS")]
    bundle: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

/// Runs the command.
///
/// # Errors
/// When the bundle is refused.
pub fn run(args: &Args) -> CommandResult {
    let settings = args.store.settings()?;
    let path = verify::find(&settings, args.bundle.as_deref())?;
    let bundle = Bundle::open(&path, &settings.trusted_keys()?).map_err(bundled::refused)?;
    let manifest = bundle.manifest();
    if args.store.json {
        let (signer, key_id) = (bundle.signer().name(), bundle.key_id());
        print_json(&json!({"signer": signer, "key_id": key_id, "manifest": manifest}))?;
        return Ok(Exit::Ok);
    }
    println!("bundle    {}", bundle.name());
    println!("signed    {} {}", bundle.signer().name(), bundle.key_id());
    println!("epoch     {}", manifest.security_epoch);
    println!("sensor    {}", serde_json::to_string(&manifest.sensor).unwrap_or_default());
    for section in &manifest.modes {
        let branches: Vec<String> = section
            .params
            .describe
            .branches
            .iter()
            .map(|branch| format!("{branch:?}").to_lowercase())
            .collect();
        println!("mode      {} with bank {} of {}", section.mode.name(), section.bank, branches.join(", "));
    }
    for file in &manifest.files {
        println!("file      {:<24} {:>12} bytes  {}", file.path, file.size_bytes, &file.sha256[..12]);
    }
    for golden in &manifest.golden {
        for expected in &golden.expected {
            println!(
                "golden    {} mode {}: score {:.4} with {} ({})",
                golden.points,
                expected.mode.name(),
                expected.score,
                expected.engine,
                expected.provider
            );
        }
    }
    for (artifact, origin) in &manifest.provenance.weights {
        println!("weights   {artifact}: {origin}");
    }
    for (what, origin) in &manifest.provenance.data {
        println!("data      {what}: {origin}");
    }
    Ok(Exit::Ok)
}
