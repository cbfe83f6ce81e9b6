//! Looking for runs that break an invariant, and making what was found small and clear.
//!
//! A map of the code, in the order in which a violation passes through it:
//!
//! - [`seed`] is the tree of seeds; [`strategy`] turns one into the choices of a run, by a [`profile`] of faults and an
//!   [`order`] of tasks.
//! - [`explore`] makes many runs on several threads and adds them up as a [`tally`].
//! - [`investigate`] leads a violation through the rest: [`shrink`] takes away choices that it does not need,
//!   [`capsule`] keeps what is left as a small readable file, [`story`] tells it in plain words.
//! - [`summary`] is what an exploration says in the end.
//! - [`twice`] compares two runs that must be the same.
//!
//! Nothing here knows what a deploy is: a run is a [`setup::Setup`] with a source of choices in, and a report out. Only
//! the [`stopwatch`] reads a real clock, for speeds and time limits of the tool itself.

pub mod capsule;
pub mod distinct;
pub mod explore;
pub mod investigate;
pub mod order;
pub mod profile;
pub mod seed;
pub mod setup;
pub mod shrink;
pub mod stopwatch;
pub mod story;
pub mod strategy;
pub mod summary;
pub mod tally;
pub mod twice;
