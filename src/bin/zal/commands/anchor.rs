//! `zal anchor`: confirmed good parts of the line.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::reference::sets;
use super::teaching::{self, LineArgs, WhoArgs};
use crate::config::Config;
use crate::exit::{CommandResult, Exit, Failure};
use crate::reference::{Request, Verb};

/// Arguments of `zal anchor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Take a good part in: a judged one by its result, or a scan's file
    Add {
        /// A `result_id` or seq, or the file of a scan
        #[arg(value_name = "SCAN|RESULT_ID")]
        part: String,
        /// Recipe of a scan's file [default: `spool.recipe`]
        #[arg(long, value_name = "NAME")]
        recipe: Option<String>,
        #[command(flatten)]
        who: WhoArgs,
        #[command(flatten)]
        line: LineArgs,
    },
    /// Show the anchors of every recipe
    List {
        #[command(flatten)]
        line: LineArgs,
    },
    /// Take an anchor out
    Remove {
        /// Its name as `list` shows it, or the `result_id` or seq that it was added by
        #[arg(value_name = "NAME|RESULT_ID")]
        part: String,
        /// Recipe [default: `spool.recipe`]
        #[arg(long, value_name = "NAME")]
        recipe: Option<String>,
        #[command(flatten)]
        who: WhoArgs,
        #[command(flatten)]
        line: LineArgs,
    },
}

/// Runs the command.
///
/// # Errors
/// When there is no such part, or the daemon refuses it.
pub fn run(args: &Args) -> CommandResult {
    match &args.action {
        Action::Add { part, recipe, who, line } => {
            let config = teaching::open(&line.config)?;
            let request = match Path::new(part) {
                path if path.is_file() => of_file(&config, path, recipe.as_deref(), who)?,
                _ => of_result(&config, part, who, Verb::AnchorAdd)?,
            };
            who.ask(line, &config, request)
        }
        Action::Remove { part, recipe, who, line } => {
            let config = teaching::open(&line.config)?;
            let by_result = of_result(&config, part, who, Verb::AnchorRemove);
            let request =
                by_result.or_else(|_| Ok::<_, Failure>(by_name(&config, part, recipe.as_deref(), who)))?;
            who.ask(line, &config, request)
        }
        Action::List { line } => list(line),
    }
}

fn of_result(config: &Config, id: &str, who: &WhoArgs, verb: Verb) -> Result<Request, Failure> {
    let found = teaching::find(config, id)?;
    let (who, at) = (who.name(), teaching::now());
    let (recipe, name, result_id) = (found.recipe, found.claim_id, Some(found.result_id));
    Ok(Request { verb, recipe, name, scan: None, result_id, who, at })
}

/// The daemon reads the file itself: it must be where that can find it.
fn of_file(config: &Config, path: &Path, recipe: Option<&str>, who: &WhoArgs) -> Result<Request, Failure> {
    let scan: PathBuf = path
        .canonicalize()
        .with_context(|| format!("cannot use {}", path.display()))
        .map_err(|error| Failure::new(Exit::NoInput, error))?;
    zal::scan::read(&scan, &config.sensor).map_err(|error| {
        Failure::new(Exit::BadData, error).hint(format!("`zal inspect {}` says more", path.display()))
    })?;
    let name = scan.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| Failure::new(Exit::Usage, anyhow!("{} has no name", path.display())))?;
    let request = by_name(config, &name, recipe, who);
    Ok(Request { verb: Verb::AnchorAdd, scan: Some(scan), ..request })
}

fn by_name(config: &Config, name: &str, recipe: Option<&str>, who: &WhoArgs) -> Request {
    Request {
        verb: Verb::AnchorRemove,
        recipe: recipe.unwrap_or(&config.spool.recipe).into(),
        name: name.into(),
        scan: None,
        result_id: None,
        who: who.name(),
        at: teaching::now(),
    }
}

fn list(line: &LineArgs) -> CommandResult {
    let config = teaching::open(&line.config)?;
    let sets = sets(&config)?;
    for set in &sets {
        for name in &set.anchors {
            if line.json {
                println!(
                    "{}",
                    serde_json::json!({"recipe": set.recipe, "made_with": set.made_with, "name": name})
                );
            } else {
                println!("{}\t{name}\t{}", set.recipe, set.made_with);
            }
        }
    }
    if sets.iter().all(|set| set.anchors.is_empty()) && !line.json {
        println!("no anchors; confirm good parts with `zal anchor add RESULT_ID`");
    }
    Ok(Exit::Ok)
}
