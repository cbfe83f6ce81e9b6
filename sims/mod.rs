//! Scenarios: one story a file. The command line and `cargo test` run the same ones.

use crate::sim::scenario::Scenario;

/// Every scenario, in the order in which exploration takes them.
pub const ALL: &[Scenario] = &[];
