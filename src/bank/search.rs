//! Bank stage: search.
