//! Where weights come from: a seeded generator, or a checkpoint of another framework.

pub mod seeded;
pub mod checkpoint;
