//! Scans into frames and descriptors: from the cache, or computed and kept.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use ndarray::Array2;
use zal::contract::{GraphContract, NORMALCY, POINTNET, RGB};
use zal::engine::{self, Engine};
use zal::features::describe::{Describer, Graphs};
use zal::features::turned::Turn;
use zal::features::{Branch, PatchFeatures, PatchGrid};
use zal::preprocess::{PreparedScan, prepare};
use zal::scan::{SensorProfile, read};

use super::Bench;
use super::cache;
use super::data_set::ScanFile;
use super::frame::Frame;
use super::graphs::Graph;
use super::recipe::{Part, Recipe};
use crate::bank_build::DescribedScan;

/// A scan with all that judging it needs.
pub struct Seen {
    /// Its frame.
    pub frame: Frame,
    /// Its valid patches.
    pub grid: PatchGrid,
    /// Their descriptors and logits.
    pub described: DescribedScan,
}

/// What one thread owns: engines are loaded when the first scan needs them.
pub struct Worker<'a> {
    bench: &'a Bench<'a>,
    recipe: &'a Recipe,
    frame_key: String,
    part_keys: Vec<(Part, String)>,
    describers: BTreeMap<Part, Describer>,
}

impl<'a> Worker<'a> {
    pub fn new(bench: &'a Bench<'a>, recipe: &'a Recipe) -> Self {
        let keyed = |part: Part| (part, recipe.part_key(part, &bench.setup.engine));
        Self {
            bench,
            recipe,
            frame_key: recipe.frame_key(),
            part_keys: recipe.parts().into_iter().map(keyed).collect(),
            describers: BTreeMap::new(),
        }
    }

    /// Frame and descriptors of a scan; none when it shows no object.
    pub fn see(&mut self, file: &ScanFile) -> Result<Option<Seen>> {
        self.try_see(file).with_context(|| format!("scan {}", file.xyz.display()))
    }

    fn try_see(&mut self, file: &ScanFile) -> Result<Option<Seen>> {
        let mut prepared = None;
        let Some(frame) = self.frame(file, &mut prepared)? else { return Ok(None) };
        let grid = PatchGrid::of(&frame.mask_cloud());
        let mut described =
            DescribedScan { patches: grid.patches().to_vec(), features: Vec::new(), logits: None };
        for (part, part_key) in self.part_keys.clone() {
            let key = cache::key(&[&part_key, &file.key]);
            let rows = match self.kept(&key, grid.count()) {
                Some(rows) => rows,
                None => self.compute(part, &key, file, (&mut prepared, &grid))?,
            };
            match part {
                Part::Branch(branch) => described.features.push(PatchFeatures { branch, rows }),
                Part::Normalcy => described.logits = Some(rows.into_raw_vec_and_offset().0),
            }
        }
        Ok(Some(Seen { frame, grid, described }))
    }

    /// The colour rows of a scan whose frame is turned by the `index`-th of `count` equal turns, and the
    /// patches of the frame as it was that they show; none without the rgb branch or an object.
    pub fn see_turned(
        &mut self,
        file: &ScanFile,
        index: usize,
        count: usize,
    ) -> Result<Option<(Vec<u16>, Array2<f32>)>> {
        self.try_see_turned(file, index, count).with_context(|| format!("scan {}", file.xyz.display()))
    }

    fn try_see_turned(
        &mut self,
        file: &ScanFile,
        index: usize,
        count: usize,
    ) -> Result<Option<(Vec<u16>, Array2<f32>)>> {
        let rgb = Part::Branch(Branch::Rgb);
        let Some((_, part_key)) = self.part_keys.iter().find(|(part, _)| *part == rgb).cloned() else {
            return Ok(None);
        };
        let mut prepared = None;
        let Some(frame) = self.frame(file, &mut prepared)? else { return Ok(None) };
        let turn = Turn::new(index, count);
        let grid = PatchGrid::of(&Frame { object: turn.mask(&frame.object), ..frame }.mask_cloud());
        let shown = grid.patches().iter().map(|patch| turn.patch(*patch)).collect();
        let key = cache::key(&[&part_key, "turned", &format!("{index} of {count}"), &file.key]);
        if let Some(rows) = self.kept(&key, grid.count()) {
            return Ok(Some((shown, rows)));
        }
        if prepared.is_none() {
            prepared = self.prepared(file)?;
        }
        let mut turned = prepared.take();
        if let Some(prepared) = &mut turned {
            prepared.color = prepared.color.as_ref().map(|color| turn.color(color));
        }
        let rows = self.compute(rgb, &key, file, (&mut turned, &grid))?;
        Ok(Some((shown, rows)))
    }

    /// The frame, kept or prepared; an empty list is kept for a scan without object.
    fn frame(&self, file: &ScanFile, prepared: &mut Option<PreparedScan>) -> Result<Option<Frame>> {
        let key = cache::key(&[&self.frame_key, &file.key]);
        if let Some((_, values)) = self.bench.cache.get(&key) {
            let frame = Frame::from_values(&values);
            if frame.is_some() || values.is_empty() {
                return Ok(frame);
            }
        }
        *prepared = self.prepared(file)?;
        let frame = prepared.as_ref().map(Frame::of);
        let values = frame.as_ref().map(Frame::to_values).unwrap_or_default();
        self.bench.cache.put(&key, &[values.len()], &values)?;
        Ok(frame)
    }

    fn prepared(&self, file: &ScanFile) -> Result<Option<PreparedScan>> {
        self.bench.times.measure("prepare", || {
            let scan = read(&file.xyz, &SensorProfile::default())?;
            Ok(prepare(&scan, &self.recipe.params.preprocess).ok())
        })
    }

    fn kept(&self, key: &str, patch_count: usize) -> Option<Array2<f32>> {
        let (shape, values) = self.bench.cache.get(key)?;
        let [rows, columns] = *shape.as_slice() else { return None };
        if rows != patch_count {
            return None;
        }
        Array2::from_shape_vec((rows, columns), values).ok()
    }

    /// Computes a part's rows `[patches, columns]` and keeps them.
    fn compute(
        &mut self,
        part: Part,
        key: &str,
        file: &ScanFile,
        (prepared, grid): (&mut Option<PreparedScan>, &PatchGrid),
    ) -> Result<Array2<f32>> {
        if prepared.is_none() {
            *prepared = self.prepared(file)?;
        }
        let prepared = prepared.as_ref().context("its frame is kept, but it shows no object now")?;
        let bench = self.bench;
        let describer = self.describer(part)?;
        let rows = bench.times.measure(part.name(), || -> Result<Array2<f32>> {
            match part {
                Part::Branch(branch) => Ok(describer.describe(branch, prepared, grid)?.rows),
                Part::Normalcy => {
                    let logits = describer.normalcy(prepared, grid)?;
                    Ok(Array2::from_shape_vec((logits.len(), 1), logits)?)
                }
            }
        })?;
        let rows = rows.as_standard_layout().into_owned();
        let values = rows.as_slice().context("the rows were just put in order")?;
        self.bench.cache.put(key, &[rows.nrows(), rows.ncols()], values)?;
        Ok(rows)
    }

    /// The describer of one part alone, with its graph loaded.
    fn describer(&mut self, part: Part) -> Result<&mut Describer> {
        if !self.describers.contains_key(&part) {
            let mut params = self.recipe.params.describe.clone();
            params.branches = match part {
                Part::Branch(branch) => vec![branch],
                Part::Normalcy => Vec::new(),
            };
            let describer = Describer::new(params, self.graphs(part)?)?;
            self.describers.insert(part, describer);
        }
        self.describers.get_mut(&part).context("it was just put there")
    }

    fn graphs(&self, part: Part) -> Result<Graphs> {
        let load = |contract: &GraphContract, graph: &Option<Graph>| -> Result<Option<Box<dyn Engine>>> {
            let Some(graph) = graph else { return Ok(None) };
            let loaded = engine::load(contract, &graph.bytes, &self.bench.setup.engine);
            Ok(Some(loaded.with_context(|| format!("cannot load the {} graph", contract.name))?))
        };
        let recipe = self.recipe;
        let mut graphs = Graphs::default();
        match part {
            Part::Branch(Branch::Rgb) => graphs.rgb = load(&RGB, &recipe.rgb)?,
            Part::Branch(Branch::Fpfh) => {}
            Part::Branch(Branch::Point) => graphs.pointnet = load(&POINTNET, &recipe.pointnet)?,
            Part::Normalcy => graphs.normalcy = load(&NORMALCY, &recipe.normalcy)?,
        }
        Ok(graphs)
    }
}
