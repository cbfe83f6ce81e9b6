//! The real world: the seam on sockets, an embedded database, files and child processes.
//!
//! A node is single-threaded: it lives on a `LocalSet` of a current-thread runtime, and only calls that block (`blocking`)
//! leave its thread. Start with [`RealEnv`]; who may connect is decided in `handshake`, before a byte of a frame is read.
//! Nothing here decides anything about deployments.

mod blobs;
mod blocking;
mod database;
mod disk;
mod env;
pub mod handshake;
mod journal;
mod leftovers;
mod loopback;
mod network;
mod process;
mod secret;
mod serving;
mod stream;
mod table;
pub mod trace;

pub(crate) use self::{
    blocking::blocking,
    env::{spawn, wall_clock_ms},
};
pub use self::{
    env::{Config, Member, RealEnv, StartError},
    loopback::free_address,
    secret::{Secret, WeakSecret},
};
