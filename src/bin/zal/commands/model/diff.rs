//! `zal model diff`: how two bundles differ, field by field of their manifests.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use zal::bundle::Bundle;

use super::{StoreArgs, print_json, verify};
use crate::bundled;
use crate::exit::{CommandResult, Exit, Failure};

/// Longest value that is shown whole.
const VALUE_LEN_MAX: usize = 72;

/// Arguments of `zal model diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A .zalb file, or the first digits of a bundle of the store
    #[arg(value_name = "FILE|DIGITS")]
    bundle: String,
    /// The other one [default: the bundle in charge, as the one before]
    #[arg(value_name = "FILE|DIGITS")]
    other: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

/// Runs the command.
///
/// # Errors
/// When a bundle is refused.
pub fn run(args: &Args) -> CommandResult {
    let settings = args.store.settings()?;
    let trusted = settings.trusted_keys()?;
    let open = |named: Option<&str>| -> Result<Bundle, Failure> {
        Bundle::open(&verify::find(&settings, named)?, &trusted).map_err(bundled::refused)
    };
    // One name: what would change if it were installed.
    let (old, new) = match &args.other {
        Some(other) => (open(Some(&args.bundle))?, open(Some(other))?),
        None => (open(None)?, open(Some(&args.bundle))?),
    };
    let fields = |bundle: &Bundle| -> Result<BTreeMap<String, String>, Failure> {
        let manifest =
            serde_json::to_value(bundle.manifest()).map_err(|error| Failure::new(Exit::Bug, error))?;
        let mut fields = BTreeMap::new();
        flatten(&manifest, "", &mut fields);
        fields.insert("signed".into(), format!("{} {}", bundle.signer().name(), bundle.key_id()));
        Ok(fields)
    };
    let differences = differences(&fields(&old)?, &fields(&new)?);
    if args.store.json {
        let rows: Vec<Value> = differences
            .iter()
            .map(|(field, old, new)| json!({"field": field, "old": old, "new": new}))
            .collect();
        print_json(&json!({"old": old.name(), "new": new.name(), "differences": rows}))?;
        return Ok(Exit::Ok);
    }
    println!("{} -> {}: {} fields differ", old.name(), new.name(), differences.len());
    for (field, old, new) in &differences {
        let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "(none)".to_owned(), shorten);
        println!("  {field}: {} -> {}", shown(old), shown(new));
    }
    Ok(Exit::Ok)
}

/// Every leaf of a JSON value by its path. Entries of lists that have a name go by it, so that an added
/// file does not shift all others.
fn flatten(value: &Value, at: &str, fields: &mut BTreeMap<String, String>) {
    let below = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    match value {
        Value::Object(entries) => entries.iter().for_each(|(key, value)| flatten(value, &below(key), fields)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let name =
                    ["path", "mode", "points", "branch"].iter().find_map(|key| item.get(key)?.as_str());
                let key = name.map_or_else(|| index.to_string(), str::to_owned);
                flatten(item, &below(&key), fields);
            }
        }
        Value::String(text) => {
            fields.insert(at.to_owned(), text.clone());
        }
        other => {
            fields.insert(at.to_owned(), other.to_string());
        }
    }
}

type Difference = (String, Option<String>, Option<String>);

fn differences(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Difference> {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .map(|key| (key.clone(), old.get(key).cloned(), new.get(key).cloned()))
        .filter(|(_, old, new)| old != new)
        .collect()
}

fn shorten(value: &str) -> String {
    if value.chars().count() <= VALUE_LEN_MAX {
        return value.to_owned();
    }
    value.chars().take(VALUE_LEN_MAX).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_added_file_shifts_no_other() {
        let of = |text: &str| {
            let mut fields = BTreeMap::new();
            flatten(&serde_json::from_str(text).expect("JSON"), "", &mut fields);
            fields
        };
        let old = of(r#"{"version": "1", "files": [{"path": "b", "size": 1}]}"#);
        let new = of(r#"{"version": "2", "files": [{"path": "a", "size": 9}, {"path": "b", "size": 1}]}"#);
        let found: Vec<String> = differences(&old, &new).into_iter().map(|difference| difference.0).collect();
        assert_eq!(found, ["files.a.path", "files.a.size", "version"]);
        assert!(differences(&old, &old).is_empty());
    }
}
