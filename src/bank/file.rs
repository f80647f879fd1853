//! Bank stage: file.
