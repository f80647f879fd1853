//! Exact neighbours.
