//! Reads tensors from a checkpoint of another framework: PyTorch's `.pth`, or `.safetensors`.
//!
//! Checkpoints name a backbone's tensors with or without a prefix (`model.`, `backbone.`, `encoder.`,
//! `state_dict.module.` ...). The prefix is found once, by a tensor that every such network has; two
//! candidates are an error, because taking either would be a guess.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use pytorch_reader::PytorchReader;
use safetensors::SafeTensors;

/// An opened checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    prefix: String,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Pytorch(PytorchReader),
    Safetensors(Vec<u8>),
}

/// Element types that can be widened or narrowed to 32-bit floats.
#[derive(Debug, Clone, Copy)]
enum Float {
    F64,
    F32,
    F16,
    Bf16,
}

/// Why weights could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The name says nothing about the format.
    #[error("{}: found extension `{found}`, expected .pth, .pt or .safetensors", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
        /// The extension.
        found: String,
    },
    /// The file is not a PyTorch checkpoint.
    #[error("{}: not a PyTorch checkpoint: {source}", path.display())]
    Pytorch {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: pytorch_reader::PytorchError,
    },
    /// The file is not in the safetensors format.
    #[error("{}: not a safetensors file: {source}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: safetensors::SafeTensorError,
    },
    /// No tensor tells where the network begins.
    #[error(
        "{}: found {count} tensors, none named `{anchor}` with or without a prefix (first ones: {sample}); \
         expected a network with torchvision's tensor names", path.display()
    )]
    NoAnchor {
        /// The file.
        path: PathBuf,
        /// Tensors in it.
        count: usize,
        /// The name looked for.
        anchor: String,
        /// A few names that are there.
        sample: String,
    },
    /// The file holds several networks.
    #[error(
        "{}: found several networks, under the prefixes {prefixes}; expected one: save the wanted one alone",
        path.display()
    )]
    Ambiguous {
        /// The file.
        path: PathBuf,
        /// The prefixes.
        prefixes: String,
    },
    /// A tensor is not there.
    #[error("{}: found no tensor `{name}`, expected one of shape {expected:?}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor, with the file's prefix.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
    },
    /// A tensor has another shape.
    #[error(
        "{}: tensor `{name}`: found shape {found:?}, expected {expected:?}; is --arch the network in the file?",
        path.display()
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor, with the file's prefix.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape the network needs.
        expected: Vec<usize>,
    },
    /// A tensor does not hold floats.
    #[error("{}: tensor `{name}`: found element type {found}, expected f64, f32, f16 or bf16", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor, with the file's prefix.
        name: String,
        /// Its element type.
        found: String,
    },
    /// A tensor holds NaN or infinity.
    #[error("{}: tensor `{name}`: found {found} at index {index}, expected finite weights", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor, with the file's prefix.
        name: String,
        /// Where.
        index: usize,
        /// The number.
        found: f32,
    },
}

impl Checkpoint {
    /// Opens a checkpoint whose network has a tensor named `anchor`, under any prefix.
    ///
    /// # Errors
    /// When the file cannot be read, or does not hold exactly one such network.
    pub fn open(path: &Path, anchor: &str) -> Result<Self, WeightError> {
        let format = Format::open(path)?;
        let mut checkpoint = Self { path: path.into(), prefix: String::new(), format };
        checkpoint.prefix = checkpoint.find_prefix(anchor)?;
        Ok(checkpoint)
    }

    /// The file's prefix before the network's own names; often empty.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Elements of the tensor `name`, row-major, as 32-bit floats.
    ///
    /// # Errors
    /// When it is missing, has another shape, or does not hold finite floats.
    pub fn tensor(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, WeightError> {
        let name = format!("{}{name}", self.prefix);
        let path = || self.path.clone();
        let Some(found) = self.format.find(&name, &self.path)? else {
            return Err(WeightError::Missing { path: path(), name, expected: expected.to_vec() });
        };
        if found.shape != expected {
            let expected = expected.to_vec();
            return Err(WeightError::Shape { path: path(), name, found: found.shape, expected });
        }
        let Some(float) = found.float else {
            return Err(WeightError::Dtype { path: path(), name, found: found.dtype });
        };
        let bytes = found.bytes.read().map_err(|source| WeightError::Io { path: path(), source })?;
        let elements = float.decode(&bytes);
        match elements.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            Some((index, &found)) => Err(WeightError::NotFinite { path: path(), name, index, found }),
            None => Ok(elements),
        }
    }

    fn find_prefix(&self, anchor: &str) -> Result<String, WeightError> {
        let mut names = self.format.names(&self.path)?;
        names.sort();
        let prefixes: Vec<&str> = names
            .iter()
            .filter_map(|name| name.strip_suffix(anchor))
            .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
            .collect();
        match prefixes[..] {
            [prefix] => Ok(prefix.into()),
            [] => Err(WeightError::NoAnchor {
                path: self.path.clone(),
                count: names.len(),
                anchor: anchor.into(),
                sample: names[..names.len().min(4)].join(", "),
            }),
            _ => Err(WeightError::Ambiguous {
                path: self.path.clone(),
                prefixes: format!("`{}`", prefixes.join("`, `")),
            }),
        }
    }
}

/// A tensor of a file, its bytes not yet read.
struct Found<'a> {
    dtype: String,
    float: Option<Float>,
    shape: Vec<usize>,
    bytes: Bytes<'a>,
}

enum Bytes<'a> {
    Pytorch(&'a pytorch_reader::Tensor),
    Slice(&'a [u8]),
}

impl Bytes<'_> {
    fn read(&self) -> std::io::Result<Cow<'_, [u8]>> {
        match self {
            Self::Pytorch(tensor) => tensor.read().map(Cow::Owned),
            Self::Slice(bytes) => Ok(Cow::Borrowed(bytes)),
        }
    }
}

impl Format {
    fn open(path: &Path) -> Result<Self, WeightError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match extension.as_str() {
            "pth" | "pt" => PytorchReader::new(path)
                .map(Self::Pytorch)
                .map_err(|source| WeightError::Pytorch { path: path.into(), source }),
            "safetensors" => std::fs::read(path)
                .map(Self::Safetensors)
                .map_err(|source| WeightError::Io { path: path.into(), source }),
            _ => Err(WeightError::Extension { path: path.into(), found: extension }),
        }
    }

    fn names(&self, path: &Path) -> Result<Vec<String>, WeightError> {
        match self {
            Self::Pytorch(reader) => Ok(reader.keys()),
            Self::Safetensors(file) => {
                Ok(parse(file, path)?.names().into_iter().map(str::to_owned).collect())
            }
        }
    }

    fn find(&self, name: &str, path: &Path) -> Result<Option<Found<'_>>, WeightError> {
        match self {
            Self::Pytorch(reader) => Ok(reader.get(name).map(|tensor| Found {
                dtype: format!("{:?}", tensor.dtype()),
                float: Float::of_pytorch(tensor.dtype()),
                shape: tensor.shape().to_vec(),
                bytes: Bytes::Pytorch(tensor),
            })),
            Self::Safetensors(file) => Ok(parse(file, path)?.tensor(name).ok().map(|tensor| Found {
                dtype: format!("{:?}", tensor.dtype()),
                float: Float::of_safetensors(tensor.dtype()),
                shape: tensor.shape().to_vec(),
                bytes: Bytes::Slice(tensor.data()),
            })),
        }
    }
}

fn parse<'a>(file: &'a [u8], path: &Path) -> Result<SafeTensors<'a>, WeightError> {
    SafeTensors::deserialize(file).map_err(|source| WeightError::Safetensors { path: path.into(), source })
}

impl Float {
    fn of_pytorch(dtype: pytorch_reader::DType) -> Option<Self> {
        match dtype {
            pytorch_reader::DType::F64 => Some(Self::F64),
            pytorch_reader::DType::F32 => Some(Self::F32),
            pytorch_reader::DType::F16 => Some(Self::F16),
            pytorch_reader::DType::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    fn of_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        match dtype {
            safetensors::Dtype::F64 => Some(Self::F64),
            safetensors::Dtype::F32 => Some(Self::F32),
            safetensors::Dtype::F16 => Some(Self::F16),
            safetensors::Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    /// Little-endian elements as 32-bit floats; the machines we build for are little-endian too.
    #[expect(clippy::cast_possible_truncation, reason = "64-bit weights are rounded to the precision in use")]
    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
            Self::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Self::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            Self::Bf16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        }
    }
}
