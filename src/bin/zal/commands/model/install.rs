//! `zal model install`: a bundle from a file or an address into charge, on trial.

use serde::Serialize;
use zal::bundle::Signer;
use zal::bundle::store::{Phase, Store, StoreError, short};
use zal::bundle::{Bundle, TrustedKeys};

use super::{StoreArgs, print_json};
use crate::exit::{CommandResult, Exit, Failure};
use crate::update::install::{Installation, Origin, Outcome, Wanted, ensure_factory, expect_no_trial};
use crate::update::probe::Report;
use crate::update::refusal;
use crate::update::say::Say;
use crate::update::settings::Settings;
use crate::update::shadow::Agreement;

/// Arguments of `zal model install`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle: a .zalb file, or an http:// or https:// address of one
    #[arg(value_name = "FILE|URL")]
    source: String,
    #[command(flatten)]
    store: StoreArgs,
    /// Only say whether the bundle would be taken; nothing is changed or tested
    #[arg(long)]
    dry_run: bool,
    /// Wait for `zal model confirm` instead of confirming by parts
    #[arg(long)]
    manual_confirm: bool,
    /// First score so many of the line's next parts beside the bundle in charge
    #[arg(long, value_name = "PARTS", default_value_t = 0)]
    shadow: u16,
    /// With --shadow: the share of parts that may be judged differently, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    shadow_flips_max: f64,
    /// Take a bundle that the development key signed, which everybody has
    #[arg(long)]
    allow_development_key: bool,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    outcome: &'static str,
    text: String,
    bundle: &'a str,
    sha256: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'a Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<&'a Agreement>,
}

/// Runs the command.
///
/// # Errors
/// When the bundle is refused or does not pass its test.
pub fn run(args: &Args) -> CommandResult {
    let mut settings = args.store.settings()?;
    settings.update.allow_development_key |= args.allow_development_key;
    settings.update.manual_confirm |= args.manual_confirm;
    let trusted = settings.trusted_keys()?;
    let origin = Origin::of(&args.source);
    if args.dry_run {
        return dry_run(&origin, &settings, &trusted, args.store.json);
    }
    let mut store = settings.open_store()?;
    ensure_factory(&mut store, &settings, &trusted)?;
    expect_no_trial(&store)?;
    let mut say = Say::new(args.store.json, Some(&settings.update.dir));
    if let Some(path) = settings.config.as_ref().and_then(|config| config.detector.bundle.as_ref()) {
        say.line(&format!(
            "note: the configuration names {}, so the daemon does not use this store: remove detector.bundle there",
            path.display()
        ));
    }
    let installation = Installation { store, settings: &settings, trusted, say };
    let wanted = Wanted { origin, shadow_parts: args.shadow.into(), flips_max: args.shadow_flips_max };
    let outcome = installation.run(&wanted)?;
    print(&outcome, &settings, args.store.json)?;
    Ok(Exit::Ok)
}

fn print(outcome: &Outcome, settings: &Settings, json: bool) -> Result<(), Failure> {
    let summary = match outcome {
        Outcome::InCharge { bundle, sha256 } => Summary {
            outcome: "in_charge",
            text: format!("{bundle} is in charge already; nothing was changed"),
            bundle,
            sha256,
            report: None,
            before: None,
            agreement: None,
        },
        Outcome::Trial { bundle, sha256, report, before, agreement } => Summary {
            outcome: "trial",
            text: trial_text(bundle, report, before.as_deref(), settings),
            bundle,
            sha256,
            report: Some(report),
            before: before.as_deref(),
            agreement: agreement.as_deref(),
        },
    };
    if json {
        return print_json(&summary);
    }
    println!("{}", summary.text);
    Ok(())
}

fn trial_text(bundle: &str, report: &Report, before: Option<&Report>, settings: &Settings) -> String {
    let before = before
        .map_or_else(String::new, |before| format!(", {:.0} ms with the bundle before", before.scan_ms));
    let rules = settings.update.trial_rules();
    let next = if rules.manual {
        "it judges from now on; watch some parts, then `zal model confirm`, or `zal model rollback`"
            .to_owned()
    } else {
        format!(
            "it judges from now on and is confirmed after {} parts; `zal model status` shows how many are left",
            rules.parts
        )
    };
    format!(
        "{bundle}: {} golden scans as expected on {} ({}), {:.0} ms a scan{before}\n{next}",
        report.golden_count, report.engine.engine, report.engine.provider, report.scan_ms
    )
}

/// Checks the file where it lies.
fn dry_run(origin: &Origin, settings: &Settings, trusted: &TrustedKeys, json: bool) -> CommandResult {
    let Origin::Path(path) = origin else {
        let error = anyhow::anyhow!("--dry-run looks at a file; expected a path");
        return Err(Failure::new(Exit::Usage, error).hint("download the bundle first"));
    };
    let bundle = Bundle::open(path, trusted).map_err(crate::bundled::refused)?;
    if bundle.signer() == Signer::Development && !settings.update.allow_development_key {
        return Err(refusal::failure(StoreError::DevelopmentKey { bundle: bundle.name() }));
    }
    let mut in_charge = "nothing".to_owned();
    if let Ok(store) = settings.open_existing_store() {
        let index = store.index().map_err(refusal::failure)?;
        let (found, lowest) = (bundle.manifest().security_epoch, index.security_epoch);
        if found < lowest {
            return Err(refusal::failure(StoreError::Epoch { bundle: bundle.name(), found, lowest }));
        }
        expect_quiet(&store)?;
        in_charge = index.current.as_deref().map_or(in_charge, |sha256| short(sha256).to_owned());
    }
    let text = format!(
        "{} would be copied, tested and put on trial; in charge now: {in_charge} (nothing was changed)",
        bundle.name()
    );
    if json {
        print_json(&serde_json::json!({"outcome": "would_install", "text": text, "bundle": bundle.name()}))?;
    } else {
        println!("{text}");
    }
    Ok(Exit::Ok)
}

/// An installation needs a store that no other one is at.
fn expect_quiet(store: &Store) -> Result<(), Failure> {
    expect_no_trial(store)?;
    let index = store.index().map_err(refusal::failure)?;
    if matches!(index.phase, Phase::Testing { .. }) && store.installer().is_err() {
        return Err(refusal::failure(StoreError::Busy));
    }
    Ok(())
}
