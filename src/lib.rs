//! zal: zero-shot 3D anomaly localization, after the paper 3DzAL (arXiv 2412.04304).
//!
//! This library is the detector: a scan goes in, a [`detector`] result comes out. It knows
//! no network, no clock and no global state, and prints nothing. Data flows one way through
//! the modules below, and a module imports only what stands before it:
//!
//! ```text
//! scan -> preprocess -> features (rgb | fpfh | pointnet) -> bank -> score -> verdict
//! ```

pub mod cloud;
pub mod scan;
pub mod synth;
pub mod preprocess;
pub mod neighbors;
pub mod normals;
pub mod contract;
pub mod engine;
pub mod features;
pub mod bank;
pub mod score;
pub mod metrics;
pub mod calibration;
pub mod detector;
pub mod picture;
pub mod bundle;
