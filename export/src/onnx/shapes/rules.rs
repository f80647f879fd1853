//! One rule per operator: which type its first output has.

use super::axes::{concat, gather, gemm, matmul, reduce, reshape, squeeze, transpose, unsqueeze};
use super::windows::{convolution, global_pool, pool};
use super::{Extent, Mismatch, TensorType, constant_type};
use crate::onnx::proto::{NodeProto, elem};

/// What a rule finds: a type, or nothing when it cannot be known.
pub(super) type Inferred = Result<Option<TensorType>, Mismatch>;

/// Type of the node's first output.
pub(super) fn output_type(node: &NodeProto, inputs: &[Option<&TensorType>]) -> Inferred {
    if !node.domain.is_empty() && node.domain != "ai.onnx" {
        return Ok(None);
    }
    if node.op_type == "Constant" {
        return Ok(node.attribute("value").and_then(|value| value.t.as_ref()).map(constant_type));
    }
    // The first input decides for every rule below.
    let Some(Some(first)) = inputs.first().copied() else { return Ok(None) };
    match node.op_type.as_str() {
        "Relu"
        | "LeakyRelu"
        | "PRelu"
        | "Sigmoid"
        | "HardSigmoid"
        | "HardSwish"
        | "Tanh"
        | "Elu"
        | "Clip"
        | "Erf"
        | "Exp"
        | "Sqrt"
        | "Neg"
        | "Sign"
        | "Abs"
        | "Identity"
        | "Dropout"
        | "Softmax"
        | "LRN"
        | "BatchNormalization"
        | "InstanceNormalization"
        | "LayerNormalization"
        | "Not" => Ok(Some(TensorType::new(first.elem, first.dims.clone()))),
        "Cast" => Ok(cast(node, first)),
        "QuantizeLinear" => Ok(Some(quantized(first, inputs.get(2).copied().flatten()))),
        "DequantizeLinear" => Ok(Some(TensorType::new(elem::FLOAT, first.dims.clone()))),
        "Gemm" => gemm(node, first, inputs.get(1).copied().flatten()),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" | "Sum" => broadcast_all(inputs, first.elem),
        "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "And" | "Or" => {
            broadcast_all(inputs, elem::BOOL)
        }
        "Where" => broadcast_all(inputs, inputs.get(1).copied().flatten().map_or(elem::FLOAT, |t| t.elem)),
        "Conv" => convolution(node, first, inputs.get(1).copied().flatten()),
        "MaxPool" | "AveragePool" => pool(node, first),
        "GlobalAveragePool" | "GlobalMaxPool" => Ok(Some(global_pool(first))),
        "MatMul" => matmul(first, inputs.get(1).copied().flatten()),
        "Concat" => concat(node, inputs),
        "Gather" => gather(node, first, inputs.get(1).copied().flatten()),
        "Reshape" => reshape(first, inputs.get(1).copied().flatten()),
        "ReduceMax" | "ReduceMin" | "ReduceMean" | "ReduceSum" => {
            reduce(node, first, inputs.get(1).copied().flatten())
        }
        "Transpose" => transpose(node, first),
        "Unsqueeze" => unsqueeze(node, first, inputs.get(1).copied().flatten()),
        "Squeeze" => squeeze(node, first, inputs.get(1).copied().flatten()),
        _ => Ok(None),
    }
}

fn cast(node: &NodeProto, first: &TensorType) -> Option<TensorType> {
    let to = i32::try_from(node.int_or("to", 0)).ok()?;
    Some(TensorType::new(to, first.dims.clone()))
}

/// The zero point's element type; without one, 8 bits unsigned.
fn quantized(first: &TensorType, zero_point: Option<&TensorType>) -> TensorType {
    TensorType::new(zero_point.map_or(elem::UINT8, |zero| zero.elem), first.dims.clone())
}

fn broadcast_all(inputs: &[Option<&TensorType>], elem_type: i32) -> Inferred {
    let Some(known) = inputs.iter().copied().collect::<Option<Vec<_>>>() else { return Ok(None) };
    let mut dims = Vec::new();
    for tensor in known {
        dims = broadcast(&dims, &tensor.dims)?;
    }
    Ok(Some(TensorType::new(elem_type, dims)))
}

/// Shape of two tensors brought to one shape by NumPy's rule.
pub(super) fn broadcast(a: &[Extent], b: &[Extent]) -> Result<Vec<Extent>, Mismatch> {
    let rank = a.len().max(b.len());
    let axis = |dims: &[Extent], i: usize| match (i + dims.len()).checked_sub(rank) {
        Some(own) => dims[own],
        None => Extent::Fixed(1),
    };
    (0..rank)
        .map(|i| {
            let (x, y) = (axis(a, i), axis(b, i));
            broadcast_axis(x, y).ok_or_else(|| {
                Mismatch::new(format!("shapes {a:?} and {b:?}"), format!("axis {i} equal or 1"))
            })
        })
        .collect()
}

fn broadcast_axis(x: Extent, y: Extent) -> Option<Extent> {
    match (x, y) {
        _ if x == y => Some(x),
        (Extent::Fixed(1), other) | (other, Extent::Fixed(1)) => Some(other),
        // An unknown or batch-sized axis that meets a fixed one can only be that size, or 1.
        (Extent::Unknown, Extent::Fixed(size)) | (Extent::Fixed(size), Extent::Unknown) => {
            Some(Extent::Fixed(size))
        }
        (Extent::Unknown, _) | (_, Extent::Unknown) => Some(Extent::Unknown),
        _ => None,
    }
}
