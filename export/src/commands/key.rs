//! `zal-export key`.

use std::path::PathBuf;

use crate::signing;

/// Arguments of `zal-export key`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write STEM.key (secret, for `zal-export pack --key`) and STEM.pub (for the devices)
    #[arg(long, value_name = "STEM")]
    out: PathBuf,
}

/// Makes a signing key.
///
/// # Errors
/// When a file of that name exists or cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    signing::make_key(&args.out)?;
    println!("{}  keep it secret", args.out.with_extension("key").display());
    println!("{}  copy it to every device's trusted keys", args.out.with_extension("pub").display());
    Ok(())
}
