//! `zal model verify`: whether a bundle is exactly what a trusted key signed.

use std::path::PathBuf;

use serde_json::json;
use zal::bundle::{Bundle, Signer};

use super::{StoreArgs, print_json};
use crate::bundled;
use crate::exit::{CommandResult, Exit, Failure};
use crate::update::probe::{self, Request};
use crate::update::refusal;
use crate::update::settings::Settings;

/// Arguments of `zal model verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A .zalb file, or the first digits of a bundle of the store [default: the bundle in charge]
    #[arg(value_name = "FILE|DIGITS")]
    bundle: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// Load it and judge its golden scans, too, in a process of its own
    #[arg(long)]
    selftest: bool,
}

/// Runs the command.
///
/// # Errors
/// When the bundle is refused.
pub fn run(args: &Args) -> CommandResult {
    let settings = args.store.settings()?;
    let path = find(&settings, args.bundle.as_deref())?;
    let bundle = Bundle::open(&path, &settings.trusted_keys()?).map_err(bundled::refused)?;
    let signer = format!("{} {}", bundle.signer().name(), bundle.key_id());
    let files = bundle.manifest().files.len();
    let mut text = format!("{}: whole; {files} files as signed with the {signer}", bundle.name());
    if bundle.signer() == Signer::Development {
        text += "\nthe development key is public: this proves that the file is whole, not who made it";
    }
    let mut exit = Exit::Ok;
    let mut mismatches = Vec::new();
    if args.selftest {
        let request = Request { bundle: &path, scans: &path, settings: &settings };
        match probe::run(&request, &mut |_| {})? {
            Err(setback) => return Err(refusal::setback_failure(&bundle.name(), &setback)),
            Ok(report) => {
                text += &format!(
                    "\n{} golden scans judged with {} ({}), {} not as expected; {:.0} ms a scan",
                    report.golden_count,
                    report.engine.engine,
                    report.engine.provider,
                    report.mismatches.len(),
                    report.scan_ms
                );
                mismatches = report.mismatches;
            }
        }
        if !mismatches.is_empty() {
            exit = Exit::SelfTestMismatch;
            text += &format!("\n{}", mismatches.join("\n"));
        }
    }
    if args.store.json {
        print_json(
            &json!({"bundle": bundle.name(), "signer": signer, "mismatches": mismatches, "text": text}),
        )?;
    } else {
        println!("{text}");
    }
    Ok(exit)
}

/// A file, a bundle of the store, or the one in charge.
pub(super) fn find(settings: &Settings, named: Option<&str>) -> Result<PathBuf, Failure> {
    if let Some(path) = named.map(PathBuf::from).filter(|path| path.exists()) {
        return Ok(path);
    }
    // What looks like a path is not looked for in the store.
    if let Some(name) = named.filter(|name| !name.bytes().all(|b| b.is_ascii_hexdigit())) {
        let error = anyhow::anyhow!("there is no file {name}");
        return Err(Failure::new(Exit::NoInput, error)
            .hint("give the path of a .zalb file, or digits of `zal model list`"));
    }
    let store = settings.open_existing_store()?;
    let digits = match named {
        Some(digits) => digits.to_owned(),
        None => store.index().map_err(refusal::failure)?.current.unwrap_or_default(),
    };
    Ok(store.find(&digits).map_err(refusal::failure)?.path)
}
