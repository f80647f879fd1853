//! Loads the task-irrelevant pools of a training: scans, their frames in every mode, and what the activation map
//! picks in each.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rayon::prelude::*;
use zal::detector::{Mode, ModeParams};
use zal::preprocess::prepare;
use zal::scan::{SensorProfile, read};

use super::params::TrainParams;
use crate::attention::AttentionNet;
use crate::bank_build::normal_scans;
use crate::layout;
use crate::pseudo::pool::procedural;
use crate::pseudo::{Frame, Irrelevant, Pool, PoolKind};

/// A scan that is to become part of a pool.
struct Member {
    class: String,
    name: String,
    source: Source,
}

enum Source {
    Frame(Box<Frame>),
    File(PathBuf),
}

/// One pool for every mode in `params.frames`.
///
/// # Errors
/// When a test class would be in a pool, a scan cannot be read, or the map's weights cannot be loaded.
pub fn load(
    data: &Path,
    classes: &[String],
    params: &TrainParams,
    progress: &(dyn Fn() + Sync),
) -> anyhow::Result<Vec<Pool>> {
    params.frames.iter().map(|mode| load_one(data, classes, *mode, (params, progress))).collect()
}

fn load_one(
    data: &Path,
    classes: &[String],
    mode: Mode,
    (params, progress): (&TrainParams, &(dyn Fn() + Sync)),
) -> anyhow::Result<Pool> {
    let members = members(data, classes, mode, params)?;
    // One network a thread: an engine runs one image at a time.
    let per_thread = members.len().div_ceil(rayon::current_num_threads()).max(1);
    let made: Vec<Vec<Option<(String, Irrelevant)>>> = members
        .par_chunks(per_thread)
        .map(|members| {
            let mut network = network(params)?;
            members
                .iter()
                .map(|member| {
                    let made = irrelevant(member, mode, &mut network)?;
                    progress();
                    Ok(made.map(|made| (member.class.clone(), made)))
                })
                .collect::<anyhow::Result<_>>()
        })
        .collect::<anyhow::Result<_>>()?;
    let scans: Vec<(String, Irrelevant)> = made.into_iter().flatten().flatten().collect();
    anyhow::ensure!(
        !scans.is_empty(),
        "the pool of irrelevant scans is empty: found pool_scans = {}, pool_own_scans = {}, expected one of them above 0 \
         and, for `paper_like`, a class beside those trained on and tested on",
        params.pool_scans,
        params.pool_own_scans
    );
    Ok(Pool::new(params.pool, scans, &params.test_classes)?)
}

/// Scans of a pool; files are not read yet.
fn members(data: &Path, classes: &[String], mode: Mode, params: &TrainParams) -> anyhow::Result<Vec<Member>> {
    let mut members = Vec::new();
    match params.pool {
        PoolKind::Strict => {
            let settings = ModeParams::of(mode).preprocess;
            let solids = procedural(params.seed, params.pool_scans, &params.test_classes, &settings)
                .context("a procedural solid of the pool")?;
            members.extend(solids.into_iter().map(|solid| Member {
                class: format!("procedural {}", solid.family),
                name: solid.name,
                source: Source::Frame(Box::new(solid.frame)),
            }));
            members.extend(spaced(normal_scans(data, classes)?, params.pool_own_scans));
        }
        PoolKind::PaperLike => {
            let present = layout::classes(data)?;
            let names =
                present.iter().filter_map(|class| Some(class.file_name()?.to_string_lossy().into_owned()));
            for class in names.filter(|c| !classes.contains(c) && !params.test_classes.contains(c)) {
                members.extend(spaced(normal_scans(data, &[class])?, params.pool_scans));
            }
        }
    }
    Ok(members)
}

/// At most `count` of the scans, spread evenly over the list.
fn spaced(scans: Vec<(String, PathBuf)>, count: usize) -> impl Iterator<Item = Member> {
    let step = scans.len().div_ceil(count.max(1)).max(1);
    scans.into_iter().step_by(step).take(count).map(|(name, path)| {
        let class = name.split('/').next().unwrap_or_default().to_owned();
        Member { class, name, source: Source::File(path) }
    })
}

fn network(params: &TrainParams) -> anyhow::Result<AttentionNet> {
    match &params.attention {
        None => Ok(AttentionNet::random(params.seed)?),
        Some(path) => AttentionNet::from_checkpoint(path)
            .with_context(|| format!("the weights of the activation map, {}", path.display())),
    }
}

/// The frame and its peaks. A scan that shows no part, or whose map says nothing, gives none: the pool has others.
fn irrelevant(member: &Member, mode: Mode, network: &mut AttentionNet) -> anyhow::Result<Option<Irrelevant>> {
    let frame = match &member.source {
        Source::Frame(frame) => frame.as_ref().clone(),
        Source::File(path) => {
            let scan =
                read(path, &SensorProfile::default()).with_context(|| format!("scan {}", path.display()))?;
            let Ok(prepared) = prepare(&scan, &ModeParams::of(mode).preprocess) else { return Ok(None) };
            Frame::of(&prepared)
        }
    };
    let Ok(map) = network.activation(&frame.cloud) else { return Ok(None) };
    Ok(Some(Irrelevant::new(member.name.clone(), frame, &map)))
}
