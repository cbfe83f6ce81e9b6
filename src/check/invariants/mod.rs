//! Every invariant, each a small file; all are on in every run.

use super::{Invariant, Trace};

/// What the invariants need of a trace, worked out once.
pub struct Facts<'a> {
    /// The trace itself.
    pub trace: &'a Trace,
}

impl<'a> Facts<'a> {
    /// Works it out.
    pub fn gather(trace: &'a Trace) -> Self {
        Self { trace }
    }
}

/// All invariants, in the order of museum.md.
pub const ALL: &[Invariant] = &[];
