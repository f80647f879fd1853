//! Bank stage: coreset.
