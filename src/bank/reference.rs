//! Bank stage: reference.
