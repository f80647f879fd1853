//! `zal model status`: which bundle judges and where an update stands. Exit code 13 after a rollback that
//! nobody has taken note of, 12 or 13 after a failed test.

use super::{StoreArgs, print_json};
use crate::exit::{CommandResult, Exit};
use crate::message::{BundleBody, UpdateBody};
use crate::update::{refusal, status};

/// Arguments of `zal model status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    store: StoreArgs,
}

/// Runs the command.
///
/// # Errors
/// When there is no store.
pub fn run(args: &Args) -> CommandResult {
    let settings = args.store.settings()?;
    let store = settings.open_existing_store()?;
    let body = status::body(&store, &settings.trusted_keys()?).map_err(refusal::failure)?;
    if args.store.json {
        print_json(&body)?;
    } else {
        print(&body);
        if let Some(path) = settings.config.as_ref().and_then(|config| config.detector.bundle.as_ref()) {
            println!(
                "note      the configuration names {}, so the daemon does not use this store",
                path.display()
            );
        }
    }
    Ok(match body.setback.as_ref().map(|setback| setback.code.as_str()) {
        None | Some("manual") => Exit::Ok,
        Some("self_test") => Exit::SelfTestMismatch,
        Some(_) => Exit::RolledBack,
    })
}

fn print(body: &UpdateBody) {
    println!("state     {}", body.state.as_str());
    if let Some(progress) = &body.progress {
        let share = match progress.total {
            0 => String::new(),
            total => format!(", {} %", 100 * progress.done.min(total) / total),
        };
        println!("doing     {}{share}", progress.stage);
    }
    for (what, bundle) in [
        ("current", &body.current),
        ("previous", &body.previous),
        ("factory", &body.factory),
        ("candidate", &body.candidate),
    ] {
        if let Some(bundle) = bundle {
            println!("{what:<9} {}", words(bundle));
        }
    }
    if let Some(trial) = &body.trial {
        let by = if trial.manual_confirm { "a person has to confirm it" } else { "confirmed by itself then" };
        println!("trial     {} parts to go, {} starts left; {by}", trial.parts_left, trial.starts_left);
    }
    if let Some(setback) = &body.setback {
        println!("setback   {}: {} ({})", setback.code, setback.text, words(&setback.bundle));
    }
    println!("to do     {}", body.help);
}

/// A bundle in one line.
pub(super) fn words(bundle: &BundleBody) -> String {
    let name = if bundle.name.is_empty() { "(its file cannot be read)" } else { &bundle.name };
    let digits = zal::bundle::store::short(&bundle.sha256);
    format!("{name}  {digits}  epoch {}  {}", bundle.security_epoch, bundle.signer)
}
