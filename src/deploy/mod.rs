//! The deploy logic: what an origin and its peers do to bring one component to every node.
//!
//! Reads top-down from [`origin`] (the node that takes the request) and [`peer`] (a node that is told to install).
//! Reaches the outside through `env` and the other nodes through `replication`, and knows nothing above.

pub mod archive;
pub mod await_row;
pub mod blob_stream;
pub mod budget;
pub mod build;
pub mod carried;
pub mod client;
pub mod dispatch;
pub mod event;
pub mod event_log;
pub mod hashing;
pub mod install;
mod journal;
pub mod lines;
pub mod load;
pub mod node;
pub mod operation;
pub mod origin;
pub mod outcome;
pub mod package;
pub mod peer;
pub mod reading;
pub mod recorder;
mod recovery;
pub mod registry;
pub mod request;
pub mod restart;
pub mod retention;
mod retry;
mod rollback;
mod rollout;
pub mod row;
pub mod slots;
pub mod verdict;
