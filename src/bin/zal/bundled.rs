//! The demo bundle that travels inside the program.

/// Bytes of the demo bundle; empty when the program was built without one.
pub const fn demo_bundle() -> &'static [u8] {
    &[]
}
