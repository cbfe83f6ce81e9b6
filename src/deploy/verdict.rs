//! The verdict of a deploy: pure, over what was expected and what came of it (spec 6).

use std::collections::BTreeSet;

use serde_json::Value;

use super::outcome::{self, PeerResult};
use crate::{env::NodeName, replication::operations::CONNECT_FAILED};

/// Whom a deploy is for, and what came of each.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    expected: Vec<NodeName>,
    outcomes: Vec<PeerResult>,
    /// To which of them a connection came about, at the dispatch or later.
    reached: BTreeSet<NodeName>,
}

/// What a deploy's coverage says of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every expected peer was dispatched to, and answered success.
    Success,
    /// Some were not, or did not.
    Failure {
        /// Which, and why.
        message: String,
        /// Their outcomes.
        failed: Vec<PeerResult>,
    },
}

impl Coverage {
    /// Nothing has come yet of the peers expected, in membership order.
    pub fn expecting(peers: &[NodeName]) -> Self {
        Self { expected: peers.to_vec(), ..Self::default() }
    }

    /// Takes in what came of a peer.
    pub fn settle(&mut self, raw: &Value) {
        let outcome = outcome::normalize(raw);
        if outcome.code() != Some(CONNECT_FAILED) {
            self.reached.extend(self.expected.iter().find(|peer| is_of(&outcome, peer)).cloned());
        }
        outcome::upsert(&mut self.outcomes, outcome);
    }

    /// How many peers were expected.
    pub fn expected(&self) -> usize {
        self.expected.len()
    }

    /// To how many expected peers the operation went. One that could be reached then, and not to restart it, counts.
    pub fn dispatched(&self) -> usize {
        self.reached.len()
    }

    /// How many expected peers answered success.
    pub fn succeeded(&self) -> usize {
        self.successful().len()
    }

    /// The expected peers that answered success.
    pub fn successful(&self) -> Vec<NodeName> {
        let well = |peer: &&NodeName| self.outcome_of(peer).is_some_and(PeerResult::is_success);
        self.expected.iter().filter(well).cloned().collect()
    }

    /// The outcomes in membership order, then those of nobody who was expected.
    pub fn outcomes(&self) -> Vec<&PeerResult> {
        let expected = self.expected.iter().filter_map(|peer| self.outcome_of(peer));
        let others = self.outcomes.iter().filter(|outcome| !self.expected.iter().any(|peer| is_of(outcome, peer)));
        expected.chain(others).collect()
    }

    /// What all this says of the deploy.
    pub fn verdict(&self) -> Verdict {
        let missing = self.expected.iter().filter(|peer| self.outcome_of(peer).is_none());
        let missing = missing.map(|peer| format!("{peer}: was not asked"));
        let failed: Vec<PeerResult> = self.outcomes().into_iter().filter(|o| !o.is_success()).cloned().collect();
        let told = failed.iter().map(|outcome| match outcome.node().as_str() {
            Some(node) => format!("{node}: {}", outcome.cause()),
            None => format!("unknown node: {}", outcome.cause()),
        });
        let causes: Vec<String> = missing.chain(told).collect();
        if causes.is_empty() && self.succeeded() == self.expected() {
            return Verdict::Success;
        }
        let message = format!(
            "{} of {} peers did not deploy: {}",
            self.expected() - self.succeeded(),
            self.expected(),
            causes.join("; ")
        );
        Verdict::Failure { message, failed }
    }

    fn outcome_of(&self, peer: &NodeName) -> Option<&PeerResult> {
        self.outcomes.iter().find(|outcome| is_of(outcome, peer))
    }
}

fn is_of(outcome: &PeerResult, peer: &NodeName) -> bool {
    outcome.node() == peer.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn coverage(outcomes: &[Value]) -> Coverage {
        let mut coverage = Coverage::expecting(&["n2".into(), "n3".into()]);
        outcomes.iter().for_each(|outcome| coverage.settle(outcome));
        coverage
    }

    #[test]
    fn who_could_not_be_connected_to_was_not_dispatched_to() {
        let unreached =
            json!({ "node": "n3", "status": "failed", "error": { "message": "m", "code": "connect_failed" } });
        let well = |node| json!({ "node": node, "status": "success" });
        assert_eq!(coverage(&[well("n2"), unreached.clone()]).dispatched(), 1);
        assert_eq!(coverage(&[well("n2"), well("n3"), unreached]).dispatched(), 2, "it was not restarted");
    }

    #[test]
    fn success_needs_the_success_of_every_expected_peer() {
        assert_eq!(coverage(&[json!({ "node": "n3" }), json!({ "node": "n2" })]).verdict(), Verdict::Success);
        assert_ne!(coverage(&[json!({ "node": "n3" })]).verdict(), Verdict::Success);
        assert_ne!(coverage(&[]).verdict(), Verdict::Success);
    }

    #[test]
    fn a_failure_names_every_peer_and_its_cause() {
        let failed = json!({ "node": "n3", "status": "failed", "reason": "disk full" });
        let Verdict::Failure { message, failed } = coverage(&[failed]).verdict() else { panic!("a peer failed") };
        assert_eq!(message, "2 of 2 peers did not deploy: n2: was not asked; n3: disk full");
        assert_eq!(failed.len(), 1);
    }

    #[test]
    fn an_answer_that_is_not_understood_is_a_failure_of_coverage() {
        let outcomes = [json!({ "node": "n2" }), json!({ "node": "n3" }), json!("what?")];
        assert_ne!(coverage(&outcomes).verdict(), Verdict::Success);
    }

    #[test]
    fn outcomes_are_told_in_membership_order_whatever_the_order_of_settling() {
        let coverage = coverage(&[json!({ "node": "n3" }), json!({ "node": "n2" })]);
        assert_eq!(coverage.outcomes().iter().map(|outcome| outcome.node().clone()).collect::<Vec<_>>(), ["n2", "n3"]);
    }
}
