//! Rules of the operators that multiply, join, pick, reduce and rearrange axes.

use super::rules::{Inferred, broadcast};
use super::{Extent, Mismatch, TensorType};
use crate::onnx::proto::NodeProto;

/// The position of `axis` among `rank` axes; negative ones count from the end.
fn axis_index(axis: i64, rank: usize) -> Result<usize, Mismatch> {
    let signed_rank = super::to_i64(rank);
    let from_start = if axis < 0 { axis.saturating_add(signed_rank) } else { axis };
    usize::try_from(from_start)
        .ok()
        .filter(|&index| index < rank)
        .ok_or_else(|| Mismatch::new(format!("axis {axis}"), format!("an axis of a tensor of rank {rank}")))
}

/// `axes` as attribute (before operator set 13 and for ReduceMax) or as constant input.
fn axes_of(node: &NodeProto, input: Option<&TensorType>) -> Option<Vec<i64>> {
    node.ints_of("axes").map(<[i64]>::to_vec).or_else(|| input.and_then(|axes| axes.integers.clone()))
}

pub(super) fn matmul(a: &TensorType, b: Option<&TensorType>) -> Inferred {
    let Some(b) = b else { return Ok(None) };
    let ([a_outer @ .., rows, inner_a], [b_outer @ .., inner_b, columns]) = (&a.dims[..], &b.dims[..]) else {
        return Ok(None); // vectors as factors do not occur in the graphs at hand
    };
    if let (Extent::Fixed(x), Extent::Fixed(y)) = (inner_a, inner_b)
        && x != y
    {
        return Err(Mismatch::new(format!("{:?} times {:?}", a.dims, b.dims), "equal inner axes"));
    }
    let mut dims = broadcast(a_outer, b_outer)?;
    dims.extend([*rows, *columns]);
    Ok(Some(TensorType::new(a.elem, dims)))
}

pub(super) fn gemm(node: &NodeProto, a: &TensorType, b: Option<&TensorType>) -> Inferred {
    let Some(b) = b else { return Ok(None) };
    let ([mut rows, mut inner_a], [mut inner_b, mut columns]) = (
        <[Extent; 2]>::try_from(&a.dims[..])
            .map_err(|_| Mismatch::new(format!("{:?}", a.dims), "a matrix"))?,
        <[Extent; 2]>::try_from(&b.dims[..])
            .map_err(|_| Mismatch::new(format!("{:?}", b.dims), "a matrix"))?,
    );
    if node.int_or("transA", 0) != 0 {
        (rows, inner_a) = (inner_a, rows);
    }
    if node.int_or("transB", 0) != 0 {
        (inner_b, columns) = (columns, inner_b);
    }
    if let (Extent::Fixed(x), Extent::Fixed(y)) = (inner_a, inner_b)
        && x != y
    {
        return Err(Mismatch::new(format!("{:?} times {:?}", a.dims, b.dims), "equal inner axes"));
    }
    Ok(Some(TensorType::new(a.elem, vec![rows, columns])))
}

pub(super) fn concat(node: &NodeProto, inputs: &[Option<&TensorType>]) -> Inferred {
    let Some(known) = inputs.iter().copied().collect::<Option<Vec<_>>>() else { return Ok(None) };
    let first = known[0];
    let axis = axis_index(node.int_or("axis", 0), first.dims.len())?;
    let mut dims = first.dims.clone();
    for tensor in &known[1..] {
        if tensor.dims.len() != dims.len() {
            return Err(Mismatch::new(format!("{dims:?} and {:?}", tensor.dims), "equal ranks"));
        }
        for (i, (own, other)) in dims.iter_mut().zip(&tensor.dims).enumerate() {
            *own = if i == axis { sum(*own, *other) } else { agree(*own, *other)? };
        }
    }
    Ok(Some(TensorType::new(first.elem, dims)))
}

fn sum(a: Extent, b: Extent) -> Extent {
    match (a, b) {
        (Extent::Fixed(x), Extent::Fixed(y)) => Extent::Fixed(x.saturating_add(y)),
        (Extent::PerBatch(x), Extent::PerBatch(y)) => Extent::PerBatch(x.saturating_add(y)),
        _ => Extent::Unknown,
    }
}

fn agree(a: Extent, b: Extent) -> Result<Extent, Mismatch> {
    match (a, b) {
        _ if a == b => Ok(a),
        (Extent::Unknown, other) | (other, Extent::Unknown) => Ok(other),
        _ => Err(Mismatch::new(format!("{a:?} and {b:?}"), "equal sizes beside the joined axis")),
    }
}

pub(super) fn gather(node: &NodeProto, data: &TensorType, indices: Option<&TensorType>) -> Inferred {
    let Some(indices) = indices else { return Ok(None) };
    let axis = axis_index(node.int_or("axis", 0), data.dims.len())?;
    let mut dims = data.dims[..axis].to_vec();
    dims.extend(&indices.dims);
    dims.extend(&data.dims[axis + 1..]);
    Ok(Some(TensorType::new(data.elem, dims)))
}

pub(super) fn reduce(node: &NodeProto, data: &TensorType, axes_input: Option<&TensorType>) -> Inferred {
    let rank = data.dims.len();
    let axes = match axes_of(node, axes_input) {
        Some(axes) => axes.iter().map(|&axis| axis_index(axis, rank)).collect::<Result<Vec<_>, _>>()?,
        None => return Ok(None),
    };
    let keep = node.int_or("keepdims", 1) != 0;
    let dims = data
        .dims
        .iter()
        .enumerate()
        .filter_map(|(i, &extent)| match (axes.contains(&i), keep) {
            (false, _) => Some(extent),
            (true, true) => Some(Extent::Fixed(1)),
            (true, false) => None,
        })
        .collect();
    Ok(Some(TensorType::new(data.elem, dims)))
}

/// Number of elements: a fixed factor, and whether it is times the batch; nothing when unknown.
fn volume(dims: &[Extent]) -> Option<(usize, bool)> {
    let mut total = (1_usize, false);
    for extent in dims {
        total = match (extent, total.1) {
            (Extent::Fixed(size), batched) => (total.0.checked_mul(*size)?, batched),
            (Extent::PerBatch(count), false) => (total.0.checked_mul(*count)?, true),
            (Extent::PerBatch(_), true) | (Extent::Unknown, _) => return None,
        };
    }
    Some(total)
}

pub(super) fn reshape(data: &TensorType, target: Option<&TensorType>) -> Inferred {
    let Some(target) = target.and_then(|shape| shape.integers.as_ref()) else { return Ok(None) };
    let mut dims = Vec::with_capacity(target.len());
    let mut open = None;
    for (i, &size) in target.iter().enumerate() {
        dims.push(match size {
            0 => data.dims.get(i).copied().unwrap_or(Extent::Unknown),
            -1 => {
                open = Some(i);
                Extent::Fixed(1)
            }
            _ => usize::try_from(size).map_or(Extent::Unknown, Extent::Fixed),
        });
    }
    if let Some(i) = open {
        dims[i] = remaining(&data.dims, &dims)?;
    }
    Ok(Some(TensorType::new(data.elem, dims)))
}

/// The size that is left for the open axis of a reshape.
fn remaining(from: &[Extent], rest: &[Extent]) -> Result<Extent, Mismatch> {
    let (Some((total, total_batched)), Some((used, used_batched))) = (volume(from), volume(rest)) else {
        return Ok(Extent::Unknown);
    };
    if used == 0 || total % used != 0 || (used_batched && !total_batched) {
        return Err(Mismatch::new(format!("{from:?} into {rest:?} and an open axis"), "a divisible size"));
    }
    Ok(if total_batched && !used_batched {
        Extent::PerBatch(total / used)
    } else {
        Extent::Fixed(total / used)
    })
}

pub(super) fn transpose(node: &NodeProto, data: &TensorType) -> Inferred {
    let rank = data.dims.len();
    let order: Vec<i64> = match node.ints_of("perm") {
        Some(order) => order.to_vec(),
        None => (0..super::to_i64(rank)).rev().collect(),
    };
    if order.len() != rank {
        return Err(Mismatch::new(format!("perm {order:?}"), format!("{rank} axes")));
    }
    let dims =
        order.iter().map(|&axis| axis_index(axis, rank).map(|i| data.dims[i])).collect::<Result<_, _>>()?;
    Ok(Some(TensorType::new(data.elem, dims)))
}

pub(super) fn unsqueeze(node: &NodeProto, data: &TensorType, axes_input: Option<&TensorType>) -> Inferred {
    let Some(axes) = axes_of(node, axes_input) else { return Ok(None) };
    let rank = data.dims.len() + axes.len();
    let new = axes.iter().map(|&axis| axis_index(axis, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut old = data.dims.iter().copied();
    let dims = (0..rank)
        .map(|i| if new.contains(&i) { Extent::Fixed(1) } else { old.next().unwrap_or(Extent::Unknown) })
        .collect();
    Ok(Some(TensorType::new(data.elem, dims)))
}

pub(super) fn squeeze(node: &NodeProto, data: &TensorType, axes_input: Option<&TensorType>) -> Inferred {
    let Some(axes) = axes_of(node, axes_input) else { return Ok(None) };
    let rank = data.dims.len();
    let gone = axes.iter().map(|&axis| axis_index(axis, rank)).collect::<Result<Vec<_>, _>>()?;
    let kept = data.dims.iter().enumerate().filter(|(i, _)| !gone.contains(i)).map(|(_, &extent)| extent);
    Ok(Some(TensorType::new(data.elem, kept.collect())))
}
