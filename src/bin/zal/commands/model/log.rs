//! `zal model log`: what happened to the store, oldest first.

use super::{StoreArgs, print_json};
use crate::exit::{CommandResult, Exit};
use crate::update::refusal;

/// Arguments of `zal model log`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only so many of the newest lines
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50)]
    lines: usize,
    #[command(flatten)]
    store: StoreArgs,
}

/// Runs the command.
///
/// # Errors
/// When there is no store.
pub fn run(args: &Args) -> CommandResult {
    let store = args.store.settings()?.open_existing_store()?;
    let log = store.log().map_err(refusal::failure)?;
    for line in &log[log.len().saturating_sub(args.lines)..] {
        if args.store.json {
            print_json(line)?;
        } else {
            let digits = zal::bundle::store::short(&line.bundle);
            println!("{}  {:<12} {digits:<12}  {}", line.ts, line.event, line.words);
        }
    }
    Ok(Exit::Ok)
}
