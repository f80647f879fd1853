//! Trains for `zal-export study`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use anyhow::Context;
use prost::Message;
use serde_json::json;

use super::train::{TrainingRecord, graphs};
use crate::bank_build::normal_scans;
use crate::networks::device::DeviceChoice;
use crate::pseudo::Pool;
use crate::study::graphs::{GraphFiles, TrainRequest};
use crate::study::plan::merge;
use crate::training::{self, Progress, RunOptions, TrainParams, pools, scans};

/// Keeps the pools of one program run: arms that differ in other settings share them.
#[derive(Default)]
pub struct StudyTrainer {
    pools: RefCell<HashMap<String, Rc<Vec<Pool>>>>,
}

impl StudyTrainer {
    /// Trains what is asked.
    ///
    /// # Errors
    /// When a setting is not known, or the training fails.
    pub fn train(&self, request: &TrainRequest) -> anyhow::Result<GraphFiles> {
        let params = params_of(request)?;
        let names = normal_scans(&request.data, &request.classes)?;
        let scans = scans::load(&names, &params, &|| {})?;
        let pools = self.pools_of(request, &params)?;
        let options = RunOptions { device: DeviceChoice::Cpu, checkpoint: None };
        let trained = training::train(&scans, &pools, &params, &options, &mut |progress| {
            if let Progress::Epoch(record) = progress
                && record.epoch == params.epochs
            {
                eprintln!("  {}", serde_json::to_string(record).unwrap_or_default());
            }
        })?;
        let record = TrainingRecord::new(&request.classes, &scans, &pools, &params, &trained);
        let (pointnet, normalcy, _) = graphs(&record, &trained)?;
        Ok(GraphFiles {
            pointnet: pointnet.encode_to_vec(),
            normalcy: normalcy.encode_to_vec(),
            describe: json!({ "patch": params.pseudo.patch }),
        })
    }

    fn pools_of(&self, request: &TrainRequest, params: &TrainParams) -> anyhow::Result<Rc<Vec<Pool>>> {
        let sizes = (params.pool_scans, params.pool_own_scans, params.seed);
        let what = (&request.data, &request.classes, &params.test_classes, params.pool);
        let key = serde_json::to_string(&(sizes, what, &params.frames, &params.attention))?;
        if let Some(found) = self.pools.borrow().get(&key) {
            return Ok(Rc::clone(found));
        }
        let made = Rc::new(pools::load(&request.data, &request.classes, params, &|| {})?);
        // The next data set or training needs others: one set is in memory at a time.
        *self.pools.borrow_mut() = HashMap::from([(key, Rc::clone(&made))]);
        Ok(made)
    }
}

/// The defaults with the request's settings over them.
fn params_of(request: &TrainRequest) -> anyhow::Result<TrainParams> {
    let mut settings = serde_json::to_value(TrainParams::default())?;
    merge(&mut settings, &request.overrides);
    let params: TrainParams = serde_json::from_value(settings)
        .with_context(|| format!("training settings {}", request.overrides))?;
    let params = TrainParams { seed: request.seed, test_classes: request.test_classes.clone(), ..params };
    params.check()?;
    Ok(params)
}
