//! Another bundle's way into charge: what is around the library's store.
//!
//! ```text
//! zal model install                                     zal run
//!   fetch -> [store: receive, stage]                      updater: watches the store's index,
//!         -> probe (a process of its own)                          loads beside the running detector,
//!         -> [shadow] -> [store: activate] ── index ──>            swaps, counts the trial's parts,
//!                                                                  rolls back
//! ```
//!
//! The tool and the daemon share nothing but the store's folder, so either may be killed at any moment.

pub mod fetch;
pub mod install;
pub mod probe;
pub mod refusal;
pub mod say;
pub mod settings;
pub mod shadow;
pub mod status;
pub mod updater;
