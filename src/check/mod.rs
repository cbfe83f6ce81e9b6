//! Traces and invariants: what a run did, and what must hold of it.
//!
//! Worlds record what happens at the seam as a [`Trace`]; [`Invariant`]s judge traces and nothing else, so the same
//! ones judge a simulated and a real run. Nothing here drives a run.

mod digest;
mod event;
pub mod invariants;
mod judge;
mod trace;

pub use self::{
    digest::{TreeDigest, TreeEntry, TreeHasher},
    event::{Death, DeployFacts, Event, Fault, NodeFinal, TailSight},
    judge::{Invariant, Judgement, Violation, judge},
    trace::{Entry, NodeIndex, Trace},
};
