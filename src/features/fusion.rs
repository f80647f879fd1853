//! Branch stage: fusion.
