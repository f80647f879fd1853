//! Branch stage: fpfh.
