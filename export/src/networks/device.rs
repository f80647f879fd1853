//! Where training runs: the CPU, or a GPU when this program was built for one.

use burn::tensor::Device;

/// A device to train on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum DeviceChoice {
    /// The CPU on all cores, the passes through the networks fused.
    #[default]
    Cpu,
    /// The CPU, every operation by burn's own backend: slow, to compare with.
    Flex,
    /// The first GPU through Vulkan; needs a build with `--features vulkan`.
    Vulkan,
    /// The first NVIDIA GPU through CUDA; needs a build with `--features cuda`.
    Cuda,
}

impl DeviceChoice {
    /// The device, with gradients.
    ///
    /// # Errors
    /// When this program was built without that backend.
    pub fn open(self) -> anyhow::Result<Device> {
        match self {
            Self::Cpu | Self::Flex => Ok(Device::flex().autodiff()),
            Self::Vulkan => vulkan(),
            Self::Cuda => cuda(),
        }
    }
}

#[cfg(feature = "vulkan")]
#[expect(clippy::unnecessary_wraps, reason = "the build without the feature fails here")]
fn vulkan() -> anyhow::Result<Device> {
    Ok(Device::vulkan(burn::tensor::DeviceKind::default()).autodiff())
}

#[cfg(not(feature = "vulkan"))]
fn vulkan() -> anyhow::Result<Device> {
    missing("vulkan")
}

#[cfg(feature = "cuda")]
#[expect(clippy::unnecessary_wraps, reason = "the build without the feature fails here")]
fn cuda() -> anyhow::Result<Device> {
    Ok(Device::cuda(0).autodiff())
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> anyhow::Result<Device> {
    missing("cuda")
}

#[cfg(not(all(feature = "vulkan", feature = "cuda")))]
fn missing(feature: &str) -> anyhow::Result<Device> {
    anyhow::bail!(
        "--device {feature}: found a zal-export without that backend, expected one built with \
         `cargo build --release -p zal-export --features {feature}`; --device cpu always works"
    )
}
