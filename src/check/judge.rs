//! Invariants, and how they are applied to a trace.

use std::fmt;

use super::{NodeIndex, Trace, invariants, marks};

/// A promise that holds of every run.
pub struct Invariant {
    /// Its name in museum.md: `PEERS`, `TRUTH`, …
    pub name: &'static str,
    /// What must hold, in one sentence.
    pub sentence: &'static str,
    /// Judges a trace, with what all invariants need worked out once.
    pub(super) check: fn(&invariants::Facts<'_>) -> Judgement,
}

/// An invariant's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// How often the invariant had something to look at: 0 means that the run said nothing about it.
    pub checked: u64,
    /// The first break, if any.
    pub violation: Option<Violation>,
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// What kind of break it is, free of times, ids and counts: shrinking keeps it.
    pub fingerprint: String,
    /// When, milliseconds since the start of the run.
    pub at_ms: u64,
    /// Where.
    pub node: Option<NodeIndex>,
    /// Why, in plain words.
    pub why: String,
    /// Indices into the trace of the events that show it.
    pub witnesses: Vec<usize>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} broken", self.invariant)?;
        if let Some(node) = self.node {
            write!(f, " on {node}")?;
        }
        write!(f, " at {} ms: {}", self.at_ms, self.why)
    }
}

/// What a trace shows.
pub struct Judged {
    /// By every invariant, in their order in [`invariants::ALL`].
    pub judgements: Vec<Judgement>,
    /// How often each of [`marks::ALL`] was seen.
    pub marks: Vec<u64>,
}

/// Judges `trace`, and says what it came to.
pub fn judge_and_mark(trace: &Trace) -> Judged {
    let facts = invariants::Facts::gather(trace);
    let judgements = invariants::ALL.iter().map(|invariant| (invariant.check)(&facts)).collect();
    Judged { judgements, marks: marks::seen(&facts) }
}

/// Judges `trace` by every invariant, in their order in [`invariants::ALL`].
pub fn judge(trace: &Trace) -> Vec<Judgement> {
    judge_and_mark(trace).judgements
}
