//! `zal model list`: the bundles of the store, the newest first.

use serde::Serialize;

use super::{StoreArgs, print_json, status};
use crate::exit::{CommandResult, Exit};
use crate::message::BundleBody;
use crate::update::{refusal, status as update_status};

/// Arguments of `zal model list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    store: StoreArgs,
}

/// A bundle and what it is to the device.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    bundle: BundleBody,
    roles: Vec<&'static str>,
}

/// Runs the command.
///
/// # Errors
/// When there is no store.
pub fn run(args: &Args) -> CommandResult {
    let settings = args.store.settings()?;
    let store = settings.open_existing_store()?;
    let (trusted, index) = (settings.trusted_keys()?, store.index().map_err(refusal::failure)?);
    let factory = store.factory().map_err(refusal::failure)?;
    let mut rows = Vec::new();
    for slot in store.slots().map_err(refusal::failure)? {
        let is = |held: Option<&String>| held == Some(&slot.sha256);
        let roles = [
            ("current", is(index.current.as_ref())),
            ("previous", is(index.previous.as_ref())),
            ("factory", is(factory.as_ref())),
        ];
        let roles = roles.into_iter().filter(|role| role.1).map(|role| role.0).collect();
        rows.push(Row { bundle: update_status::bundle(&store, &slot.sha256, &trusted), roles });
    }
    if args.store.json {
        print_json(&rows)?;
        return Ok(Exit::Ok);
    }
    for row in &rows {
        let roles = if row.roles.is_empty() { "not in use".to_owned() } else { row.roles.join(", ") };
        println!("{}  {roles}", status::words(&row.bundle));
    }
    Ok(Exit::Ok)
}
