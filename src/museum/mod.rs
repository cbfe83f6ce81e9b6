//! The museum: historic bugs, put back one at a time, to prove that the harness can see them.
//!
//! An [`exhibit`] is a file: a story, a source, the invariants that must catch the bug, and a small edit of the sound
//! code. A [`workshop`] applies it to a copy of the sources, builds that, and explores it with a fixed budget. The
//! [`verdict`] compares what broke with what had to. The [`tour`] leads through all exhibits, and the sound code beside them.
//!
//! The code under `src/deploy` has no switch for any of this, and the sources that are checked out are never written to.

pub mod exhibit;
pub mod tour;
pub mod verdict;
pub mod workshop;
