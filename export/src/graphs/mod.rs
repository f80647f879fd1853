//! The graphs that zal's artifacts are made of.

pub mod layer;
pub mod resnet;
pub mod attention;
pub mod pointnet;
pub mod normalcy;
