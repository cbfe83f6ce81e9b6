//! The simulated world: deterministic, event-driven, on one thread.

pub mod choice;
pub mod cluster;
pub mod component;
pub mod run;
pub mod scenario;
