//! Name, dtype and shape of every ONNX tensor, checked when a graph is written and when
//! it is loaded.

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// 64-bit integer.
    I64,
}

/// One axis of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// The batch: any size at run time.
    Batch,
    /// Exactly this size.
    Fixed(usize),
    /// Any size, constant for one graph (feature channels).
    Any,
}

/// Name, type and shape of one tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorContract {
    /// Name in the graph.
    pub name: &'static str,
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub dims: &'static [Dim],
}

/// Inputs and outputs of one graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphContract {
    /// Name for messages: `rgb`, `pointnet`, `normalcy`.
    pub name: &'static str,
    /// Inputs in order.
    pub inputs: &'static [TensorContract],
    /// Outputs in order.
    pub outputs: &'static [TensorContract],
}

use Dim::{Any, Batch, Fixed};

/// The colour backbone: `image [N,3,224,224]` -> `stride8 [N,C1,28,28]`, `stride16 [N,C2,14,14]`.
pub const RGB: GraphContract = GraphContract {
    name: "rgb",
    inputs: &[f32("image", &[Batch, Fixed(3), Fixed(224), Fixed(224)])],
    outputs: &[
        f32("stride8", &[Batch, Any, Fixed(28), Fixed(28)]),
        f32("stride16", &[Batch, Any, Fixed(14), Fixed(14)]),
    ],
};

/// The learned point descriptor: grouped coordinates and indices -> `embedding [P,d]`.
pub const POINTNET: GraphContract = GraphContract {
    name: "pointnet",
    inputs: &[
        f32("g1", &[Batch, Fixed(32), Fixed(16), Fixed(3)]),
        f32("g2", &[Batch, Fixed(8), Fixed(16), Fixed(3)]),
        TensorContract { name: "i2", dtype: Dtype::I64, dims: &[Batch, Fixed(8), Fixed(16)] },
    ],
    outputs: &[f32("embedding", &[Batch, Any])],
};

/// The normalcy classifier, its adversarial perturbation inside: `points [P,64,3]` -> `logit [P]`.
pub const NORMALCY: GraphContract = GraphContract {
    name: "normalcy",
    inputs: &[f32("points", &[Batch, Fixed(64), Fixed(3)])],
    outputs: &[f32("logit", &[Batch])],
};

const fn f32(name: &'static str, dims: &'static [Dim]) -> TensorContract {
    TensorContract { name, dtype: Dtype::F32, dims }
}
