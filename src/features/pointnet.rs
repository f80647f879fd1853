//! Branch stage: pointnet.
