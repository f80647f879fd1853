//! Normals.
