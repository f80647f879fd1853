//! One file per subcommand.

pub mod synth;
pub mod backbone;
pub mod point_graphs;
pub mod bank;
pub mod pack;
pub mod key;
