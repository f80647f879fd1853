//! Name, dtype and shape of every ONNX tensor, checked when a graph is written and when
//! it is loaded.
//!
//! A graph may leave sizes open that the contract fixes (exporters often do); then only a run
//! can tell, and the engines check the shapes that come out of every run.

use std::fmt::{self, Display};

use thiserror::Error;

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// 64-bit integer.
    I64,
}

impl Dtype {
    /// Reads the element type's number in the ONNX specification (`TensorProto.DataType`).
    #[must_use]
    pub const fn from_onnx(code: i32) -> Option<Self> {
        match code {
            1 => Some(Self::F32),
            7 => Some(Self::I64),
            _ => None,
        }
    }

    /// The element type's number in the ONNX specification (`TensorProto.DataType`).
    #[must_use]
    pub const fn to_onnx(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::I64 => 7,
        }
    }
}

impl Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::I64 => "i64",
        })
    }
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
    /// Batch size that the features run it with: engines plan and warm up for it.
    pub batch_size: usize,
}

/// One input or output as a graph declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape; `None` where the graph leaves the size open.
    pub dims: Vec<Option<usize>>,
}

/// How a graph, or the tensors of one run, differ from the contract.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContractError {
    /// Inputs or outputs are missing, superfluous, misnamed or in another order.
    #[error("graph `{graph}`: its {side} are [{found}], expected [{expected}]")]
    Names {
        /// The contract.
        graph: &'static str,
        /// `inputs` or `outputs`.
        side: &'static str,
        /// Names found.
        found: String,
        /// Names expected.
        expected: String,
    },
    /// A tensor has another element type.
    #[error("graph `{graph}`: `{tensor}` holds {found}, expected {expected}")]
    ElementType {
        /// The contract.
        graph: &'static str,
        /// The tensor.
        tensor: String,
        /// Element type found.
        found: String,
        /// Element type expected.
        expected: Dtype,
    },
    /// A tensor has another shape.
    #[error("graph `{graph}`: `{tensor}` has shape {found}, expected {expected}")]
    Shape {
        /// The contract.
        graph: &'static str,
        /// The tensor.
        tensor: String,
        /// Shape found.
        found: String,
        /// Shape expected.
        expected: String,
    },
}

impl GraphContract {
    /// Checks what a graph declares. A size that the graph leaves open is accepted where the
    /// contract fixes it; a batch that the graph fixes is not.
    ///
    /// # Errors
    /// Names the first tensor that differs, what was found and what was expected.
    pub fn check(&self, inputs: &[TensorInfo], outputs: &[TensorInfo]) -> Result<(), ContractError> {
        self.check_side("inputs", inputs, self.inputs)?;
        self.check_side("outputs", outputs, self.outputs)
    }

    fn check_side(
        &self,
        side: &'static str,
        found: &[TensorInfo],
        expected: &[TensorContract],
    ) -> Result<(), ContractError> {
        if !found.iter().map(|t| t.name.as_str()).eq(expected.iter().map(|t| t.name)) {
            return Err(ContractError::Names {
                graph: self.name,
                side,
                found: join(found.iter().map(|t| t.name.as_str())),
                expected: join(expected.iter().map(|t| t.name)),
            });
        }
        for (info, tensor) in found.iter().zip(expected) {
            self.check_dtype(tensor, info.dtype)?;
            let fits = info.dims.len() == tensor.dims.len()
                && info.dims.iter().zip(tensor.dims).all(|(size, dim)| declared_fits(*size, *dim));
            if !fits {
                return Err(self.shape_error(tensor, declared_text(&info.dims)));
            }
        }
        Ok(())
    }

    /// Checks the inputs of one run and returns their common batch size.
    ///
    /// # Errors
    /// Names the first tensor that differs, what was found and what was expected.
    pub fn check_inputs(&self, inputs: &[(Dtype, &[usize])]) -> Result<usize, ContractError> {
        self.check_count("inputs", inputs.len(), self.inputs)?;
        let batch = inputs.first().and_then(|(_, shape)| shape.first()).copied().unwrap_or(0);
        for ((dtype, shape), tensor) in inputs.iter().zip(self.inputs) {
            self.check_dtype(tensor, *dtype)?;
            self.check_shape(tensor, shape, batch)?;
            if batch == 0 {
                return Err(self.shape_error(tensor, format!("{shape:?}, an empty batch")));
            }
        }
        Ok(batch)
    }

    /// Checks the shapes that came out of one run of `batch` items.
    ///
    /// # Errors
    /// Names the first tensor that differs, what was found and what was expected.
    pub fn check_outputs(&self, shapes: &[&[usize]], batch: usize) -> Result<(), ContractError> {
        self.check_count("outputs", shapes.len(), self.outputs)?;
        shapes.iter().zip(self.outputs).try_for_each(|(shape, tensor)| self.check_shape(tensor, shape, batch))
    }

    fn check_count(
        &self,
        side: &'static str,
        found: usize,
        expected: &[TensorContract],
    ) -> Result<(), ContractError> {
        if found == expected.len() {
            return Ok(());
        }
        let expected = join(expected.iter().map(|t| t.name));
        Err(ContractError::Names { graph: self.name, side, found: format!("{found} tensors"), expected })
    }

    fn check_dtype(&self, tensor: &TensorContract, found: Dtype) -> Result<(), ContractError> {
        if found == tensor.dtype {
            return Ok(());
        }
        Err(self.dtype_error(tensor.name, &found.to_string(), tensor.dtype))
    }

    /// The error for an element type that no contract knows (f16, u8, ...).
    #[must_use]
    pub fn dtype_error(&self, tensor: &str, found: &str, expected: Dtype) -> ContractError {
        ContractError::ElementType { graph: self.name, tensor: tensor.into(), found: found.into(), expected }
    }

    fn check_shape(
        &self,
        tensor: &TensorContract,
        shape: &[usize],
        batch: usize,
    ) -> Result<(), ContractError> {
        let fits = shape.len() == tensor.dims.len()
            && shape.iter().zip(tensor.dims).all(|(size, dim)| match dim {
                Batch => *size == batch,
                Fixed(expected) => size == expected,
                Any => *size > 0,
            });
        if fits { Ok(()) } else { Err(self.shape_error(tensor, format!("{shape:?} in a batch of {batch}"))) }
    }

    fn shape_error(&self, tensor: &TensorContract, found: String) -> ContractError {
        let sizes = tensor.dims.iter().map(|dim| match dim {
            Batch => "batch".to_owned(),
            Fixed(size) => size.to_string(),
            Any => "any".to_owned(),
        });
        let expected = format!("[{}]", join(sizes));
        ContractError::Shape { graph: self.name, tensor: tensor.name.into(), found, expected }
    }
}

fn declared_fits(size: Option<usize>, dim: Dim) -> bool {
    match (size, dim) {
        (None, _) => true,
        (Some(_), Batch) => false,
        (Some(found), Fixed(expected)) => found == expected,
        (Some(found), Any) => found > 0,
    }
}

fn declared_text(dims: &[Option<usize>]) -> String {
    format!("[{}]", join(dims.iter().map(|size| size.map_or_else(|| "open".to_owned(), |s| s.to_string()))))
}

fn join(parts: impl Iterator<Item = impl AsRef<str>>) -> String {
    parts.fold(String::new(), |mut text, part| {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(part.as_ref());
        text
    })
}

use Dim::{Any, Batch, Fixed};

/// Patches that the point graphs see at once. One fixed size keeps their activations within a
/// few megabytes and spares the engines a new plan for every scan.
pub const PATCH_BATCH_SIZE: usize = 64;

/// The colour backbone: `image [N,3,224,224]` -> `stride8 [N,C1,28,28]`, `stride16 [N,C2,14,14]`.
pub const RGB: GraphContract = GraphContract {
    name: "rgb",
    inputs: &[f32("image", &[Batch, Fixed(3), Fixed(224), Fixed(224)])],
    outputs: &[
        f32("stride8", &[Batch, Any, Fixed(28), Fixed(28)]),
        f32("stride16", &[Batch, Any, Fixed(14), Fixed(14)]),
    ],
    batch_size: 1,
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
    batch_size: PATCH_BATCH_SIZE,
};

/// The normalcy classifier, its adversarial perturbation inside: `points [P,64,3]` -> `logit [P]`.
pub const NORMALCY: GraphContract = GraphContract {
    name: "normalcy",
    inputs: &[f32("points", &[Batch, Fixed(64), Fixed(3)])],
    outputs: &[f32("logit", &[Batch])],
    batch_size: PATCH_BATCH_SIZE,
};

const fn f32(name: &'static str, dims: &'static [Dim]) -> TensorContract {
    TensorContract { name, dtype: Dtype::F32, dims }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb_as_declared() -> (Vec<TensorInfo>, Vec<TensorInfo>) {
        let info = |name: &str, dims: &[usize]| TensorInfo {
            name: name.into(),
            dtype: Dtype::F32,
            dims: std::iter::once(None).chain(dims.iter().map(|d| Some(*d))).collect(),
        };
        let outputs = vec![info("stride8", &[512, 28, 28]), info("stride16", &[1024, 14, 14])];
        (vec![info("image", &[3, 224, 224])], outputs)
    }

    #[test]
    fn a_graph_that_meets_the_contract_is_accepted() {
        let (inputs, mut outputs) = rgb_as_declared();
        assert_eq!(RGB.check(&inputs, &outputs), Ok(()));
        outputs[0].dims = vec![None; 4];
        assert_eq!(RGB.check(&inputs, &outputs), Ok(()), "open sizes are left to the run");
    }

    #[test]
    fn every_difference_is_named() {
        let (inputs, outputs) = rgb_as_declared();
        let refused = |inputs: &[TensorInfo], outputs: &[TensorInfo]| {
            RGB.check(inputs, outputs).expect_err("the graph differs").to_string()
        };
        let mut renamed = inputs.clone();
        renamed[0].name = "input".into();
        assert_eq!(refused(&renamed, &outputs), "graph `rgb`: its inputs are [input], expected [image]");
        assert_eq!(
            refused(&inputs, &outputs[..1]),
            "graph `rgb`: its outputs are [stride8], expected [stride8, stride16]"
        );
        let mut integer = inputs.clone();
        integer[0].dtype = Dtype::I64;
        assert_eq!(refused(&integer, &outputs), "graph `rgb`: `image` holds i64, expected f32");
        let mut stage1 = outputs.clone();
        stage1[0].dims[2] = Some(56);
        assert_eq!(
            refused(&inputs, &stage1),
            "graph `rgb`: `stride8` has shape [open, 512, 56, 28], expected [batch, any, 28, 28]"
        );
        let mut fixed_batch = inputs.clone();
        fixed_batch[0].dims[0] = Some(1);
        assert!(refused(&fixed_batch, &outputs).contains("[1, 3, 224, 224], expected [batch, 3, 224, 224]"));
        let mut flat = outputs;
        flat[1].dims.pop();
        assert!(refused(&inputs, &flat).contains("`stride16`"));
    }

    #[test]
    fn the_tensors_of_a_run_share_one_batch() {
        let (g1, g2, i2) = ([5, 32, 16, 3], [5, 8, 16, 3], [5, 8, 16]);
        let inputs = [(Dtype::F32, &g1[..]), (Dtype::F32, &g2[..]), (Dtype::I64, &i2[..])];
        assert_eq!(POINTNET.check_inputs(&inputs), Ok(5));
        let other = [6, 8, 16];
        let uneven = [inputs[0], inputs[1], (Dtype::I64, &other[..])];
        assert!(
            matches!(POINTNET.check_inputs(&uneven), Err(ContractError::Shape { tensor, .. }) if tensor == "i2")
        );
        assert!(matches!(POINTNET.check_inputs(&inputs[..2]), Err(ContractError::Names { .. })));
        assert_eq!(POINTNET.check_outputs(&[&[5, 33]], 5), Ok(()));
        assert!(POINTNET.check_outputs(&[&[4, 33]], 5).is_err());
        assert!(NORMALCY.check_inputs(&[(Dtype::F32, &[0, 64, 3])]).is_err(), "an empty batch is refused");
    }

    #[test]
    fn element_types_keep_their_onnx_numbers() {
        for dtype in [Dtype::F32, Dtype::I64] {
            assert_eq!(Dtype::from_onnx(dtype.to_onnx()), Some(dtype));
        }
        assert_eq!(Dtype::from_onnx(10), None, "f16 tensors are refused");
    }
}
