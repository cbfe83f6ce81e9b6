//! Traces and invariants: what a run did, and what must hold of it.
//!
//! Worlds record what happens at the seam as a [`Trace`]; [`Invariant`]s judge traces and nothing else, so the same
//! ones judge a simulated and a real run. Nothing here drives a run.

#[cfg(any(feature = "sim", feature = "real"))]
pub mod archive;
mod digest;
mod event;
pub mod invariants;
mod judge;
pub mod marks;
mod trace;

pub use self::{
    digest::{FileDigest, FileHasher, TreeDigest, TreeEntry, TreeHasher},
    event::{Death, DeployFacts, Event, Fault, NodeFinal, TailSight},
    judge::{Invariant, Judged, Judgement, Violation, judge, judge_and_mark},
    trace::{Clock, Entry, NodeIndex, Trace},
};
