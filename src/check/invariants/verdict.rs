//! How an invariant puts its findings together.

use std::fmt::Display;

use crate::check::{Judgement, NodeIndex, Violation};

use super::facts::{At, Facts};

/// An invariant at work: counts what it looks at, and keeps the first break.
pub(super) struct Inquiry<'a> {
    facts: &'a Facts<'a>,
    invariant: &'static str,
    judgement: Judgement,
}

/// A break, as an invariant tells it.
pub(super) struct Finding<'a> {
    /// What kind of break, in a few words without times, ids and counts.
    pub(super) kind: &'a str,
    /// Where it shows in the trace.
    pub(super) at: At,
    /// On which node.
    pub(super) node: Option<NodeIndex>,
    /// In plain words.
    pub(super) why: String,
    /// Other places that show it.
    pub(super) witnesses: Vec<At>,
}

/// A value that may be missing, as a finding says it.
pub(super) fn said(value: Option<impl Display>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| format!("`{value}`"))
}

impl<'a> Inquiry<'a> {
    pub(super) fn new(facts: &'a Facts<'a>, invariant: &'static str) -> Self {
        Self { facts, invariant, judgement: Judgement::default() }
    }

    /// Looks at one more thing: `finding` says what is wrong with it, if anything.
    pub(super) fn look(&mut self, finding: impl FnOnce() -> Option<Finding<'a>>) {
        self.judgement.checked += 1;
        if self.judgement.violation.is_none() {
            self.judgement.violation = finding().map(|finding| self.violation(finding));
        }
    }

    pub(super) fn done(self) -> Judgement {
        self.judgement
    }

    fn violation(&self, finding: Finding<'_>) -> Violation {
        let mut witnesses = finding.witnesses;
        witnesses.push(finding.at);
        witnesses.sort_unstable();
        witnesses.dedup();
        Violation {
            invariant: self.invariant,
            fingerprint: finding.kind.to_owned(),
            at_ms: self.facts.at_ms(finding.at),
            node: finding.node,
            why: finding.why,
            witnesses,
        }
    }
}
