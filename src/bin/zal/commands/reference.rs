//! `zal reference`: the sets on disk, as a file and back, and a new start for drift.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use zal::detector::references::decode;

use super::teaching::{self, LineArgs, WhoArgs};
use crate::config::Config;
use crate::exit::{CommandResult, Exit, Failure};
use crate::reference::{Request, Verb, write_whole};

/// Arguments of `zal reference`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show the sets of every recipe
    List {
        #[command(flatten)]
        line: LineArgs,
    },
    /// Write all sets into one file; they leave the device in no other way
    Export {
        /// The file to write, a tar
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        line: LineArgs,
    },
    /// Take sets out of such a file; the daemon must not run
    Import {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only say what would be taken
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        line: LineArgs,
    },
    /// Take the present brightness, missing points and distances for right
    AcceptDrift {
        /// Recipe [default: `spool.recipe`]
        #[arg(long, value_name = "NAME")]
        recipe: Option<String>,
        #[command(flatten)]
        who: WhoArgs,
        #[command(flatten)]
        line: LineArgs,
    },
}

/// A set on disk.
pub struct SetOnDisk {
    /// Its folder, below that of all sets.
    pub folder: PathBuf,
    /// The recipe.
    pub recipe: String,
    /// Bundle, mode and engine.
    pub made_with: String,
    /// Names of the anchors.
    pub anchors: Vec<String>,
    /// Scans of the line.
    pub buffer_count: usize,
}

/// Runs the command.
///
/// # Errors
/// When sets or files cannot be used.
pub fn run(args: &Args) -> CommandResult {
    match &args.action {
        Action::List { line } => list(line),
        Action::Export { file, line } => export(file, line),
        Action::Import { file, dry_run, line } => import(file, *dry_run, line),
        Action::AcceptDrift { recipe, who, line } => {
            let config = teaching::open(&line.config)?;
            let request = Request {
                verb: Verb::AcceptDrift,
                recipe: recipe.clone().unwrap_or_else(|| config.spool.recipe.clone()),
                name: "drift".into(),
                scan: None,
                result_id: None,
                who: who.name(),
                at: teaching::now(),
            };
            who.ask(line, &config, request)
        }
    }
}

/// The sets on disk, by recipe.
///
/// # Errors
/// When they cannot be listed.
pub fn sets(config: &Config) -> Result<Vec<SetOnDisk>, Failure> {
    let root = config.reference_dir();
    read_sets(&root)
        .with_context(|| format!("cannot read {}", root.display()))
        .map_err(|error| Failure::new(Exit::Io, error))
}

fn read_sets(root: &Path) -> anyhow::Result<Vec<SetOnDisk>> {
    let mut sets = Vec::new();
    for note in files_of(root)?.into_iter().filter(|path| path.ends_with("made-with.txt")) {
        let text = fs::read_to_string(root.join(&note))?;
        let mut lines = text.lines();
        let recipe = lines.next().and_then(|line| line.strip_prefix("recipe ")).unwrap_or_default();
        let folder = note.parent().unwrap_or(Path::new("")).to_path_buf();
        let count = |name: &str| files_of(&root.join(&folder).join(name));
        let mut anchors = Vec::new();
        for file in count("anchors")? {
            let bytes = fs::read(root.join(&folder).join("anchors").join(&file))?;
            let name = decode(&bytes).map(|stored| stored.member.name);
            anchors.push(name.unwrap_or_else(|error| format!("{} ({error})", file.display())));
        }
        sets.push(SetOnDisk {
            recipe: recipe.into(),
            made_with: lines.next().unwrap_or_default().into(),
            buffer_count: count("buffer")?.len(),
            anchors,
            folder,
        });
    }
    Ok(sets)
}

/// All files below a folder, relative to it, in order; hidden ones and requests aside.
fn files_of(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else { continue };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let hidden = name.to_string_lossy().starts_with('.');
            let path = folder.join(&name);
            if hidden || path == Path::new("requests") || name == "damaged" || name == "removed" {
                continue;
            }
            if entry.file_type()?.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

fn list(line: &LineArgs) -> CommandResult {
    let config = teaching::open(&line.config)?;
    for set in sets(&config)? {
        let (anchors, buffer) = (set.anchors.len(), set.buffer_count);
        if line.json {
            println!(
                "{}",
                serde_json::json!({"recipe": set.recipe, "made_with": set.made_with, "anchors": anchors,
                                   "buffer": buffer, "folder": set.folder})
            );
        } else {
            println!("{}\t{anchors} anchors\t{buffer} scans of the line\t{}", set.recipe, set.made_with);
        }
    }
    Ok(Exit::Ok)
}

fn export(file: &Path, line: &LineArgs) -> CommandResult {
    let config = teaching::open(&line.config)?;
    let root = config.reference_dir();
    let write = || -> anyhow::Result<usize> {
        let files = files_of(&root)?;
        if files.is_empty() {
            bail!("there is no reference set in {}", root.display());
        }
        let hidden = file.with_extension("tmp");
        let mut archive = tar::Builder::new(File::create(&hidden)?);
        archive.mode(tar::HeaderMode::Deterministic);
        for path in &files {
            archive.append_path_with_name(root.join(path), path)?;
        }
        archive.into_inner()?.sync_all()?;
        fs::rename(&hidden, file)?;
        Ok(files.len())
    };
    let count = write().context("nothing is exported").map_err(|error| Failure::new(Exit::Io, error))?;
    println!("{}: {count} files of all reference sets", file.display());
    Ok(Exit::Ok)
}

/// A file of an export: where it goes and what it holds.
type Entry = (PathBuf, Vec<u8>);

fn import(file: &Path, dry_run: bool, line: &LineArgs) -> CommandResult {
    let config = teaching::open(&line.config)?;
    let root = config.reference_dir();
    let entries =
        read_export(file).with_context(|| format!("{} is refused", file.display())).map_err(|error| {
            Failure::new(Exit::BadData, error).hint("export it again with zal reference export")
        })?;
    if !dry_run {
        let write = || -> anyhow::Result<()> {
            for (path, bytes) in &entries {
                let target = root.join(path);
                fs::create_dir_all(target.parent().unwrap_or(&root))?;
                write_whole(&target, bytes)?;
            }
            Ok(())
        };
        write().context("the import is not whole").map_err(|error| Failure::new(Exit::Io, error))?;
    }
    let what = if dry_run { "would be taken" } else { "are taken; start or reload the daemon" };
    println!("{} files {what}", entries.len());
    Ok(Exit::Ok)
}

/// Reads and checks an export whole before anything of it is used.
fn read_export(file: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut archive = tar::Archive::new(File::open(file)?);
    let mut entries = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let depth = path.components().count();
        if !entry.header().entry_type().is_file() || !plain || !(3..=4).contains(&depth) {
            bail!("found {}, expected files RECIPE/SET/... only", path.display());
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if path.extension().is_some_and(|extension| extension == "zref") {
            decode(&bytes).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        }
        entries.push((path, bytes));
    }
    if entries.is_empty() {
        bail!("found no file, expected those of a reference set");
    }
    Ok(entries)
}
