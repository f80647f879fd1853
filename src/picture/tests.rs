//! Tests of the pictures on small analytic scans.
