//! Every scan format and encoding: round trips, a test per rejection, files cut at every
//! byte and files with flipped bytes.

#[path = "../common/mod.rs"]
mod common;
mod rejections;
mod round_trips;
mod scene;
mod writers;
