//! Branch stage: rgb.
