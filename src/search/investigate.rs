//! From a finding to a small capsule.

use std::{path::Path, time::Duration};

use super::{
    capsule::Capsule,
    setup::{Break, Setup},
    shrink::{Shrunk, shrink},
    stopwatch::Stopwatch,
    tally::Finding,
};
use crate::{check::Violation, sim::run::Report};

/// A violation with the least that it takes.
pub struct Case {
    /// What is left of the choices.
    pub shrunk: Shrunk,
    /// The run with those choices.
    pub report: Report,
    /// The violation in that run.
    pub violation: Violation,
    /// That run as a capsule.
    pub capsule: Capsule,
}

/// The same choices did not break the same invariant again, so runs are not deterministic.
#[derive(Debug, thiserror::Error)]
#[error("run {index} did not break {invariant} again when it was repeated: find out why with `drydock twice`")]
pub struct NotRepeated {
    /// Which run.
    pub index: u64,
    /// What it had broken.
    pub invariant: &'static str,
}

/// Shrinks a finding for at most `limit`; `component` is where the component was read from.
///
/// # Errors
/// When the run does not break the invariant again.
pub fn investigate(
    setup: &Setup,
    component: Option<&Path>,
    finding: &Finding,
    limit: Duration,
) -> Result<Case, NotRepeated> {
    let broken = Break::of(&finding.violation);
    let watch = Stopwatch::start();
    let attempt = |choices: &_| {
        let report = setup.replay(finding.scenario, choices);
        broken.find(&report).is_some().then_some(report.choices)
    };
    let shrunk = shrink(finding.choices.clone(), attempt, || watch.elapsed() > limit);
    let report = setup.replay(finding.scenario, &shrunk.choices);
    let violation = broken.find(&report).cloned();
    let violation = violation.ok_or(NotRepeated { index: finding.index, invariant: finding.violation.invariant })?;
    let capsule = Capsule::new(setup, finding.scenario, component, &violation, shrunk.choices.clone());
    Ok(Case { shrunk, report, violation, capsule })
}
