//! `zal model shadow`: another bundle on the line's next parts, without anything being switched.

use super::{StoreArgs, print_json, verify};
use crate::exit::{CommandResult, Exit, Failure};
use crate::update::say::Say;
use crate::update::shadow;
use zal::bundle::Bundle;

/// Arguments of `zal model shadow`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A .zalb file, or the first digits of a bundle of the store
    #[arg(value_name = "FILE|DIGITS")]
    bundle: String,
    /// Parts that both bundles judge
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    parts: u32,
    #[command(flatten)]
    store: StoreArgs,
}

/// Runs the command.
///
/// # Errors
/// When there is no daemon's configuration, or the bundle is refused.
pub fn run(args: &Args) -> CommandResult {
    let settings = args.store.settings()?;
    let Some(config) = &settings.config else {
        let error =
            anyhow::anyhow!("shadow mode needs the daemon's configuration, which names spool and journal");
        return Err(Failure::new(Exit::Usage, error).hint("name it with --config"));
    };
    let path = verify::find(&settings, Some(&args.bundle))?;
    let bundle = Bundle::open(&path, &settings.trusted_keys()?).map_err(crate::bundled::refused)?;
    let mut say = Say::new(args.store.json, None);
    let parts = usize::try_from(args.parts).unwrap_or(usize::MAX);
    let agreement = shadow::run(&bundle, config, parts, &mut say)?;
    drop(say);
    if args.store.json {
        print_json(&agreement)?;
    } else {
        println!("{}", agreement.words());
    }
    Ok(Exit::Ok)
}
