//! `zal run`: the daemon beside the line.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use tracing::info;
use zal::features::Branch;

use crate::alarms::{AlarmCode, Alarms};
use crate::config::{self, Config, ConfigError};
use crate::control::ModelTool;
use crate::daemon::{Daemon, Loaded, Signals};
use crate::exit::{CommandResult, Exit, Failure};
use crate::record::BundleOrigin;
use crate::signals::Asked;
use crate::update::settings::bundle_in_charge;
use crate::update::updater::{self, Start, Updater};
use crate::{bundled, daemon, telemetry};

/// Arguments of `zal run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/zal/zal.toml")]
    config: PathBuf,
    /// Only check the configuration
    #[arg(long)]
    check: bool,
    /// Log as JSON lines
    #[arg(long)]
    log_json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the configuration is wrong or the daemon cannot start.
pub fn run(args: &Args) -> CommandResult {
    let config = config::load(&args.config).map_err(config_failure)?;
    if args.check {
        println!("{}: ok", args.config.display());
        if config.uses_references() {
            println!("{}", reference_bound(&config));
        }
        return Ok(Exit::Ok);
    }
    telemetry::start_log("info", args.log_json);
    let mut next = load(&config, &args.config, Start::Counted)?;
    // From here on there are results to be kept.
    let asked = Asked::by_signals().map_err(|error| Failure::new(Exit::Io, error))?;
    let mut in_use = config;
    let mut former = None;
    loop {
        let (daemon, mut updater) = start(next, former.take(), &args.config, &asked)?;
        tell(sd_notify::NotifyState::Ready);
        info!(incoming = %in_use.spool.dir.join("incoming").display(), "ready");
        let end = daemon
            .run_to_end(|look| {
                let reloaded = look.reload.then(|| reload(&args.config, look.metrics.alarms())).flatten();
                reloaded.or_else(|| {
                    let (config, (loaded, updater)) = updater.as_mut()?.look(look.metrics)?;
                    let loaded = loaded.with_models(model_tool(&config, &args.config));
                    Some((config, (loaded, Some(updater))))
                })
            })
            .map_err(|error| Failure::new(Exit::Bug, error))?;
        let Some((config, loaded)) = end.filter(|_| !asked.is_stop()) else {
            if let Some(updater) = &mut updater {
                updater.ended_in_order();
            }
            return Ok(Exit::Ok);
        };
        former = Some(std::mem::replace(&mut in_use, config));
        next = loaded;
    }
}

/// A loaded detector, and who watches the bundle store when it is from there.
type Next = (Loaded, Option<Updater>);

/// What the reference sets take at most, in words.
fn reference_bound(config: &Config) -> String {
    let dims = bundle_in_charge(config)
        .map_err(|failure| failure.error)
        .and_then(|bundle| bundle.branch_dims(config.detector.mode).map_err(anyhow::Error::from));
    let dims = match dims {
        Ok(dims) => dims,
        Err(error) => return format!("reference sets: their memory depends on the bundle: {error:#}"),
    };
    let (rules, sets) = (config.reference_rules(), config.reference.recipes_max);
    let all = dims.iter().map(|(_, dims)| dims).sum();
    let rgb = dims.iter().filter(|(branch, _)| *branch == Branch::Rgb).map(|(_, dims)| dims).sum();
    let megabytes = rules.bytes_max(all, rgb, dims.len()).saturating_mul(sets).div_ceil(1_000_000);
    format!(
        "reference sets: at most {megabytes} MB of memory for {sets} recipes, each with {} scans of the line and {} \
         anchors seen from {} sides, every scan filling the whole frame",
        rules.buffer_len, rules.anchors_max, rules.rotations
    )
}

/// Starts a daemon; when a reloaded configuration turns out to be of no use only now, the
/// former one is taken again.
fn start(
    next: Next,
    former: Option<Config>,
    path: &Path,
    asked: &Asked,
) -> Result<(Daemon, Option<Updater>), Failure> {
    let (loaded, updater) = next;
    let signals = || Signals::Asked(asked.clone());
    match (loaded.start(signals()), former) {
        (Err(failure), Some(former)) => {
            let (loaded, updater) = load(&former, path, Start::Again)?;
            let daemon = loaded.start(signals())?;
            let text = format!("{:#}; the old configuration is in use again", failure.error);
            daemon.metrics().alarms().raise(AlarmCode::ConfigRefused, text);
            Ok((daemon, updater))
        }
        (started, _) => Ok((started?, updater)),
    }
}

/// The configuration as it is now with its detector, or an alarm and the old one stays.
fn reload(path: &Path, alarms: &Alarms) -> Option<(Config, Next)> {
    tell(sd_notify::NotifyState::Reloading);
    let loaded = check_journal(alarms).and_then(|()| {
        let config = config::load(path).map_err(config_failure)?;
        check_folders(&config)?;
        load(&config, path, Start::Again).map(|next| (config, next))
    });
    match loaded {
        Ok(next) => {
            alarms.clear(AlarmCode::ConfigRefused);
            info!("the configuration is reloaded; the daemon starts again with it");
            Some(next)
        }
        Err(failure) => {
            let text = format!("{:#}; the old configuration stays in use", failure.error);
            alarms.raise(AlarmCode::ConfigRefused, text);
            tell(sd_notify::NotifyState::Ready);
            None
        }
    }
}

/// Whether all results are on disk: a daemon that starts needs the journal's disk, one that
/// runs does not.
fn check_journal(alarms: &Alarms) -> Result<(), Failure> {
    if alarms.is_active(AlarmCode::JournalFailing) {
        let error = anyhow!("the journal's disk takes no results at present; reload again when it does");
        return Err(Failure::new(Exit::Io, error));
    }
    Ok(())
}

/// Whether spool and journal can be used, before the old ones are let go.
fn check_folders(config: &Config) -> Result<(), Failure> {
    let journal = config.journal.path.parent().unwrap_or(Path::new("."));
    for dir in [config.spool.dir.as_path(), journal] {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("cannot use the folder {}", dir.display()))
            .map_err(|error| Failure::new(Exit::Io, error))?;
    }
    Ok(())
}

/// The bundle that the configuration names, or the one that the store has in charge.
fn load(config: &Config, path: &Path, start: Start) -> Result<Next, Failure> {
    let Some(file) = &config.detector.bundle else {
        let (loaded, updater) = updater::boot(config, start)?;
        return Ok((loaded.with_models(model_tool(config, path)), Some(updater)));
    };
    let bundle = bundled::open(Some(file))?;
    let origin = BundleOrigin {
        path: Some(file.clone()),
        sha256: None,
        signer: format!("{} {}", bundle.signer().name(), bundle.key_id()),
    };
    Ok((daemon::load(config.clone(), &bundle, origin)?, None))
}

/// Who carries the commands `model_*` out.
fn model_tool(config: &Config, path: &Path) -> Option<ModelTool> {
    let config_path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    config.update.commands.then_some(ModelTool { config: config_path })
}

/// Outside of systemd there is nobody to tell.
fn tell(state: sd_notify::NotifyState<'_>) {
    let _ = sd_notify::notify(&[state]);
}

/// How a configuration that cannot be used ends a command.
pub fn config_failure(error: ConfigError) -> Failure {
    let exit = match error {
        ConfigError::Read { .. } => Exit::NoInput,
        ConfigError::Wrong { .. } => Exit::Config,
    };
    Failure::new(exit, error).hint("systemd/zal.toml shows every key; --check only checks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_is_refused_while_results_wait_for_the_disk() {
        let alarms = Alarms::default();
        let refusal = |alarms: &Alarms| {
            assert!(reload(Path::new("/nowhere/zal.toml"), alarms).is_none());
            let found = alarms.active().into_iter().find(|alarm| alarm.code == AlarmCode::ConfigRefused);
            found.expect("a refused reload raises an alarm").text
        };
        alarms.raise(AlarmCode::JournalFailing, "the disk is full");
        assert!(refusal(&alarms).starts_with("the journal's disk takes no results"));
        alarms.clear(AlarmCode::JournalFailing);
        let text = refusal(&alarms);
        assert!(text.contains("/nowhere/zal.toml") && text.ends_with("stays in use"), "{text}");
    }
}
