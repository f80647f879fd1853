//! Tests of [`super::prepare`] on analytic scans.
