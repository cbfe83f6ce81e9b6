//! Drydock: a simulation and test harness for deploy replication.
//!
//! A map of the code, bottom up:
//!
//! - [`env`] is the seam: the few traits through which the deploy logic reaches the outside.
//! - [`replication`] carries rows, blob chunks and operations between nodes.
//! - [`deploy`] is the deploy logic: the row, the recorder, the origin, the peer, components on disk.
//! - [`check`] judges what a run did: traces and invariants.
//! - [`real`] is the real world: sockets, a database, files, child processes.
//! - [`api`] is the door of a real node for its operators, and [`client`] the other side of it.
//! - [`sim`] is the simulated world; `sims` holds the scenarios that it tells.
//! - [`search`] looks for runs that break an invariant, and makes them small and clear.
//! - [`museum`] puts historic bugs back to see whether they are caught.
//! - [`cli`] is the command line over all of it.

#[cfg(feature = "real")]
pub mod api;
pub mod check;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "real")]
pub mod client;
pub mod deploy;
pub mod env;
#[cfg(feature = "sim")]
pub mod museum;
#[cfg(feature = "cli")]
mod panics;
#[cfg(feature = "real")]
pub mod real;
pub mod replication;
#[cfg(feature = "sim")]
pub mod search;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "sim")]
#[path = "../sims/mod.rs"]
pub mod sims;
#[cfg(feature = "turmoil")]
mod turmoil;
