//! The simulated world: deterministic, event-driven, on one thread.

pub mod blobs;
pub mod choice;
pub mod cluster;
pub mod component;
pub mod dashboard;
pub mod disk;
pub mod env;
pub mod executor;
pub mod lives;
pub mod membership;
pub mod network;
pub mod panics;
pub mod process;
pub mod reader;
pub mod run;
pub mod scenario;
pub mod scripts;
pub mod serving;
mod shelf;
mod stranger;
pub mod table;
pub mod tree;
pub mod wire;
pub mod world;
