//! Drydock: a simulation and test harness for deploy replication.
//!
//! A map of the code, bottom up:
//!
//! - [`env`] is the seam: the few traits through which the deploy logic reaches the outside.
//! - [`replication`] carries rows, blob chunks and operations between nodes.
//! - [`deploy`] is the deploy logic: the row, the recorder, the origin, the peer, components on disk.
//! - [`check`] judges what a run did: traces and invariants.
//! - [`sim`] is the simulated world; `sims` holds the scenarios that it tells.

pub mod check;
pub mod deploy;
pub mod env;
pub mod replication;
#[cfg(feature = "sim")]
pub mod search;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "sim")]
#[path = "../sims/mod.rs"]
pub mod sims;
