//! Which values the tensors take: the graph of floats is run on the calibration images with one more output,
//! all wanted tensors end to end.

use std::collections::BTreeMap;

use ndarray::Array4;
use prost::Message;
use zal::contract::{Dim, Dtype, GraphContract, TensorContract};
use zal::engine::Input;

use super::QuantizeError;
use super::plan::Plan;
use crate::bank_build::embedded_engine;
use crate::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, elem};
use crate::onnx::shapes::{Extent, TensorType, declare, infer};

/// Share of a tensor's values in one image that may lie beyond either end of its range. Rare peaks would
/// otherwise make the steps of all other values coarser; the range is the widest of all images.
pub const TAIL_SHARE: f64 = 1e-4;

const VALUES: &[TensorContract] =
    &[TensorContract { name: "values", dtype: Dtype::F32, dims: &[Dim::Batch, Dim::Any] }];

/// Range of every tensor of the plan.
pub(super) fn measure(
    model: &ModelProto,
    graph: &GraphProto,
    plan: &Plan,
    contract: &GraphContract,
    images: &[Array4<f32>],
) -> Result<BTreeMap<String, (f32, f32)>, QuantizeError> {
    let types = infer(graph)?;
    let counts: Vec<usize> = plan.tensors.iter().map(|tensor| element_count(&types[tensor])).collect();
    let observed = ModelProto { graph: Some(with_values(graph, &plan.tensors)), ..model.clone() };
    let contract = GraphContract { name: "calibration", outputs: VALUES, ..*contract };
    let mut engine = zal::engine::load(&contract, &observed.encode_to_vec(), &embedded_engine())?;
    let mut ranges: BTreeMap<String, (f32, f32)> = BTreeMap::new();
    for (index, image) in images.iter().enumerate() {
        let mut values =
            engine.run(&[Input::F32(image.view().into_dyn())])?.remove(0).into_raw_vec_and_offset().0;
        let mut rest = &mut values[..];
        for (tensor, count) in plan.tensors.iter().zip(&counts) {
            let (own, after) = rest.split_at_mut(*count);
            rest = after;
            if let Some(found) = own.iter().copied().find(|value| !value.is_finite()) {
                return Err(QuantizeError::NotFinite { image: index, tensor: tensor.clone(), found });
            }
            let (low, high) = without_tails(own);
            let range = ranges.entry(tensor.clone()).or_insert((low, high));
            *range = (range.0.min(low), range.1.max(high));
        }
    }
    Ok(ranges)
}

/// Elements for one image; the plan holds tensors of known size only.
fn element_count(found: &TensorType) -> usize {
    found.dims.iter().skip(1).map(|extent| if let Extent::Fixed(size) = extent { *size } else { 1 }).product()
}

/// The graph with `values` as its only output.
fn with_values(graph: &GraphProto, tensors: &[String]) -> GraphProto {
    const ROW: &str = "calibration.row";
    let mut graph = graph.clone();
    graph.initializer.push(TensorProto {
        dims: vec![2],
        data_type: elem::INT64,
        name: ROW.into(),
        raw_data: Some([1_i64, -1].iter().flat_map(|size| size.to_le_bytes()).collect()),
        ..TensorProto::default()
    });
    let flat = |i: usize| format!("calibration.{i}");
    for (i, tensor) in tensors.iter().enumerate() {
        graph.node.push(node("Reshape", &flat(i), vec![tensor.clone(), ROW.into()]));
    }
    let mut joined = node("Concat", "values", (0..tensors.len()).map(flat).collect());
    joined.attribute.push(AttributeProto::int("axis", 1));
    graph.node.push(joined);
    graph.output = vec![declare("values", elem::FLOAT, &[Extent::BATCH, Extent::Unknown], "N")];
    graph
}

fn node(op: &str, output: &str, input: Vec<String>) -> NodeProto {
    NodeProto {
        input,
        output: vec![output.into()],
        name: output.into(),
        op_type: op.into(),
        ..NodeProto::default()
    }
}

/// The range that holds all values but [`TAIL_SHARE`] of them at either end. Reorders the values.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count of elements"
)]
fn without_tails(values: &mut [f32]) -> (f32, f32) {
    let tail = (TAIL_SHARE * values.len() as f64) as usize;
    let last = values.len() - 1;
    let low = *values.select_nth_unstable_by(tail, f32::total_cmp).1;
    let high = *values.select_nth_unstable_by(last - tail, f32::total_cmp).1;
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ten_thousandth_of_the_values_is_left_out_at_either_end() {
        let mut values: Vec<f32> = (0_u16..20_000).map(|i| f32::from((i % 2_857) * 7)).collect();
        values[5] = 1e9;
        values[6] = 2e9;
        values[7] = -3e9;
        let (low, high) = without_tails(&mut values);
        assert!((0.0..5.0).contains(&low) && (19_990.0..20_000.0).contains(&high), "{low} {high}");
        assert_eq!(without_tails(&mut [3.0, -1.0]), (-1.0, 3.0), "few values have no tails");
    }
}
