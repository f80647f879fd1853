//! The embedded engine: tract, pure Rust, nothing to install. The only file that names tract.
//!
//! tract plans best when every size is known, so a plan is made for each batch size and the
//! last few are kept; the features run with one fixed batch size, so in practice there is one
//! plan. It computes on one thread of the CPU.

use ndarray::{ArrayD, ArrayViewD};
use tract_onnx::pb;
use tract_onnx::prelude::{
    Datum, DatumType, Framework, InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, TValue,
    TVec, Tensor, TractResult, TypedRunnableModel,
};

use std::sync::Arc;

use super::{
    Engine, EngineError, EngineReport, Input, Provider, check_run_inputs, check_run_outputs, input_shape,
    warm_up,
};
use crate::contract::{ContractError, Dtype, GraphContract, TensorContract, TensorInfo};

/// Version of the tract crates in Cargo.lock, which publish none themselves.
const TRACT_VERSION: &str = "0.23.9";
/// Plans kept for different batch sizes. Each holds its own packed copy of the weights.
const PLAN_COUNT_MAX: usize = 2;

/// A graph in tract.
pub struct TractEngine {
    contract: GraphContract,
    source: InferenceModel,
    plans: Vec<Plan>,
    report: EngineReport,
}

/// The graph optimised for one batch size.
struct Plan {
    batch: usize,
    model: Arc<TypedRunnableModel>,
}

impl TractEngine {
    /// Loads a graph that must meet `contract`, and runs it once.
    pub fn load(
        contract: &GraphContract,
        onnx: &[u8],
        passed_over: Vec<String>,
    ) -> Result<Self, EngineError> {
        let framework = tract_onnx::onnx();
        let proto = framework.proto_model_for_read(&mut &*onnx).map_err(failed)?;
        check_declaration(contract, &proto)?;
        let source = framework.model_for_proto_model(&proto).map_err(failed)?;
        let report = EngineReport {
            engine: "tract".into(),
            version: TRACT_VERSION.into(),
            provider: Provider::Cpu.name().into(),
            passed_over,
        };
        let mut engine = Self { contract: *contract, source, plans: Vec::new(), report };
        warm_up(&mut engine, contract)?;
        Ok(engine)
    }

    /// The plan for a batch size, made when there is none yet. The most recent stands last.
    fn plan(&mut self, batch: usize) -> TractResult<Arc<TypedRunnableModel>> {
        let plan = match self.plans.iter().position(|plan| plan.batch == batch) {
            Some(known) => self.plans.remove(known),
            None => Plan { batch, model: make_plan(&self.source, &self.contract, batch)? },
        };
        if self.plans.len() == PLAN_COUNT_MAX {
            self.plans.remove(0);
        }
        let model = Arc::clone(&plan.model);
        self.plans.push(plan);
        Ok(model)
    }
}

impl Engine for TractEngine {
    fn run(&mut self, inputs: &[Input<'_>]) -> Result<Vec<ArrayD<f32>>, EngineError> {
        let batch = check_run_inputs(&self.contract, inputs)?;
        let tensors = inputs.iter().map(to_tensor).collect::<TractResult<TVec<TValue>>>().map_err(failed)?;
        let outputs = self.plan(batch).and_then(|plan| plan.run(tensors)).map_err(failed)?;
        let outputs = outputs.iter().map(to_array).collect::<TractResult<Vec<_>>>().map_err(failed)?;
        check_run_outputs(&self.contract, &outputs, batch)?;
        Ok(outputs)
    }

    fn report(&self) -> &EngineReport {
        &self.report
    }
}

fn make_plan(
    source: &InferenceModel,
    contract: &GraphContract,
    batch: usize,
) -> TractResult<Arc<TypedRunnableModel>> {
    let mut model = source.clone();
    for (index, tensor) in contract.inputs.iter().enumerate() {
        let shape = input_shape(tensor.dims, batch);
        model.set_input_fact(index, InferenceFact::dt_shape(datum_type(tensor.dtype), shape))?;
    }
    model.into_optimized()?.into_runnable()
}

const fn datum_type(dtype: Dtype) -> DatumType {
    match dtype {
        Dtype::F32 => DatumType::F32,
        Dtype::I64 => DatumType::I64,
    }
}

fn to_tensor(input: &Input<'_>) -> TractResult<TValue> {
    match input {
        Input::F32(values) => copy_in(values),
        Input::I64(values) => copy_in(values),
    }
}

fn copy_in<T: Datum + Copy>(values: &ArrayViewD<'_, T>) -> TractResult<TValue> {
    let values = values.as_standard_layout();
    let flat = values.as_slice().expect("the standard layout is contiguous");
    Ok(Tensor::from_shape(values.shape(), flat)?.into())
}

fn to_array(output: &TValue) -> TractResult<ArrayD<f32>> {
    Ok(output.to_plain_array_view::<f32>()?.to_owned())
}

/// Checks the inputs and outputs that the file declares, before tract sees it.
fn check_declaration(contract: &GraphContract, proto: &pb::ModelProto) -> Result<(), EngineError> {
    let graph = proto.graph.as_ref().ok_or_else(|| EngineError::Failed {
        engine: "tract".into(),
        message: "the file holds no ONNX graph".into(),
    })?;
    // Older exporters list the weights among the inputs.
    let is_weight = |name: &str| graph.initializer.iter().any(|weight| weight.name == name);
    let inputs: Vec<&pb::ValueInfoProto> = graph.input.iter().filter(|info| !is_weight(&info.name)).collect();
    let outputs: Vec<&pb::ValueInfoProto> = graph.output.iter().collect();
    let inputs = tensor_infos(contract, contract.inputs, &inputs)?;
    let outputs = tensor_infos(contract, contract.outputs, &outputs)?;
    Ok(contract.check(&inputs, &outputs)?)
}

fn tensor_infos(
    contract: &GraphContract,
    expected: &[TensorContract],
    declared: &[&pb::ValueInfoProto],
) -> Result<Vec<TensorInfo>, ContractError> {
    declared
        .iter()
        .enumerate()
        .map(|(index, info)| {
            let tensor_type = match info.r#type.as_ref().and_then(|t| t.value.as_ref()) {
                Some(pb::type_proto::Value::TensorType(tensor_type)) => tensor_type.clone(),
                None => pb::type_proto::Tensor::default(),
            };
            let dtype = Dtype::from_onnx(tensor_type.elem_type).ok_or_else(|| {
                let wanted = expected.get(index).map_or(Dtype::F32, |tensor| tensor.dtype);
                let found = format!("ONNX element type {}", tensor_type.elem_type);
                contract.dtype_error(&info.name, &found, wanted)
            })?;
            let dims = tensor_type.shape.iter().flat_map(|shape| &shape.dim).map(size_of_dim).collect();
            Ok(TensorInfo { name: info.name.clone(), dtype, dims })
        })
        .collect()
}

fn size_of_dim(dim: &pb::tensor_shape_proto::Dimension) -> Option<usize> {
    match dim.value.as_ref()? {
        pb::tensor_shape_proto::dimension::Value::DimValue(size) => usize::try_from(*size).ok(),
        pb::tensor_shape_proto::dimension::Value::DimParam(_) => None,
    }
}

fn failed(error: impl std::fmt::Display) -> EngineError {
    EngineError::Failed { engine: "tract".into(), message: format!("{error:#}") }
}
