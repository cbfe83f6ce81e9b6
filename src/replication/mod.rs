//! The replication channel: rows, blob chunks and operations between the nodes of a cluster (spec 11).

pub mod frame;
pub mod operations;
pub mod receiver;
pub mod sender;
