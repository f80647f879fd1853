//! `zal-export report`: one HTML page of a finished run.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::provenance::command_line;
use crate::report::{self, Options};

/// Arguments of `zal-export report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Output folder of an evaluation or a study: its cells.csv and what lies beside it
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Title of the page [default: the folder's name]
    #[arg(long)]
    title: Option<String>,
}

/// Writes `OUT/report.html`.
///
/// # Errors
/// When the folder holds no run.
pub fn run(args: &Args) -> Result<()> {
    ensure!(args.out.is_dir(), "there is no folder {}", args.out.display());
    let name = std::path::absolute(&args.out)?;
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let title = args.title.clone().unwrap_or_else(|| format!("Evaluation {name}"));
    let options = Options { title, command: Some(command_line(std::env::args())), explain: None };
    println!("{}", report::write(&args.out, options)?.display());
    Ok(())
}
