//! Layers shared by all rows, ReLU after each, then the maximum over groups of rows: the piece that all point
//! networks are made of.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, Zip, s};

use super::zero_like;
use crate::graphs::layer::Linear;

/// What a forward pass keeps for the backward pass.
pub struct Pass {
    /// Outputs of all layers but the last, `[rows, out]` each.
    hidden: Vec<Array2<f32>>,
    /// Maximum of each group, `[groups, out]`; not negative.
    pub pooled: Array2<f32>,
    /// Row within the group that holds it, the first of equals.
    argmax: Array2<u8>,
}

/// Runs rows `[groups * group, in]` through the layers and takes the maximum over each group.
pub fn forward(layers: &[Linear], x: ArrayView2<'_, f32>, group: usize) -> Pass {
    let mut hidden: Vec<Array2<f32>> = Vec::with_capacity(layers.len());
    for layer in layers {
        let below = hidden.last().map_or(x, |a| a.view());
        let mut out = Array2::zeros((x.nrows(), layer.outputs()));
        out += &layer.bias;
        general_mat_mul(1.0, &below, &layer.weight, 1.0, &mut out);
        out.mapv_inplace(|v| v.max(0.0));
        hidden.push(out);
    }
    let top = hidden.pop().expect("a network has layers");
    let (pooled, argmax) = max_of_groups(&top, group);
    Pass { hidden, pooled, argmax }
}

/// Maximum and its row over each `group` rows.
fn max_of_groups(x: &Array2<f32>, group: usize) -> (Array2<f32>, Array2<u8>) {
    let groups = x.nrows() / group;
    let mut pooled = Array2::from_elem((groups, x.ncols()), f32::NEG_INFINITY);
    let mut argmax = Array2::zeros((groups, x.ncols()));
    for g in 0..groups {
        let (mut best, mut rows) = (pooled.row_mut(g), argmax.row_mut(g));
        for (k, row) in (0_u8..).zip(x.slice(s![g * group..(g + 1) * group, ..]).rows()) {
            Zip::from(&mut best).and(&mut rows).and(&row).for_each(|best, at, &value| {
                let higher = value > *best;
                *best = if higher { value } else { *best };
                *at = if higher { k } else { *at };
            });
        }
    }
    (pooled, argmax)
}

/// Gradients of a backward pass.
pub struct Gradients {
    /// Of every layer.
    pub layers: Vec<Linear>,
    /// Of the input rows `[rows, in]`, when asked for.
    pub input: Option<Array2<f32>>,
}

/// The chain rule, given the gradient `[groups, out]` of the maxima.
pub fn backward(
    layers: &[Linear],
    x: ArrayView2<'_, f32>,
    pass: &Pass,
    gradient: &Array2<f32>,
    wants_input: bool,
) -> Gradients {
    let mut gradients: Vec<Linear> = layers.iter().map(zero_like).collect();
    let last = layers.len() - 1;
    let below = pass.hidden.last().map_or(x, |a| a.view());
    let mut flowing = through_maximum(&layers[last], below, pass, gradient, &mut gradients[last]);
    for i in (0..last).rev() {
        Zip::from(&mut flowing).and(&pass.hidden[i]).for_each(|g, a| *g = if *a > 0.0 { *g } else { 0.0 });
        let below = if i == 0 { x } else { pass.hidden[i - 1].view() };
        general_mat_mul(1.0, &below.t(), &flowing, 0.0, &mut gradients[i].weight);
        gradients[i].bias = flowing.sum_axis(Axis(0));
        if i > 0 || wants_input {
            let mut next = Array2::zeros((flowing.nrows(), layers[i].weight.nrows()));
            general_mat_mul(1.0, &flowing, &layers[i].weight.t(), 0.0, &mut next);
            flowing = next;
        }
    }
    Gradients { layers: gradients, input: wants_input.then_some(flowing) }
}

/// Through the maximum and the layer before it: one row a group and channel. Returns the gradient of that layer's
/// input rows `below`.
fn through_maximum(
    layer: &Linear,
    below: ArrayView2<'_, f32>,
    pass: &Pass,
    gradient: &Array2<f32>,
    layer_gradient: &mut Linear,
) -> Array2<f32> {
    let group = below.nrows() / gradient.nrows();
    // Transposed, a channel's weights lie side by side.
    let weight = layer.weight.t().as_standard_layout().into_owned();
    let mut weight_gradient = Array2::<f32>::zeros(weight.dim());
    let mut flowing = Array2::zeros(below.dim());
    for (g, row) in gradient.rows().into_iter().enumerate() {
        for (channel, &value) in row.iter().enumerate() {
            if value.abs() > 0.0 && pass.pooled[[g, channel]] > 0.0 {
                let at = g * group + usize::from(pass.argmax[[g, channel]]);
                weight_gradient.row_mut(channel).scaled_add(value, &below.row(at));
                flowing.row_mut(at).scaled_add(value, &weight.row(channel));
                layer_gradient.bias[channel] += value;
            }
        }
    }
    layer_gradient.weight.assign(&weight_gradient.t());
    flowing
}
