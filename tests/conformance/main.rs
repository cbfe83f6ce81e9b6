//! The same promises of the seam, kept by every world: each claim is written once, generic over the seam's traits, and is
//! held against the event-driven world, stock turmoil, and the real one.
//!
//! What concerns the death of a node is held against the simulated devices only. Where a world cannot keep a promise, the
//! claim says so (`except`), with the reason that ARCHITECTURE.md gives.

mod blobs;
mod disk;
mod network;
mod power;
mod process;
mod stage;
mod table;
