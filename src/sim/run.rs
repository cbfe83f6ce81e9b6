//! One run: a scenario, its parameters and a source of choices in; a report out.

use std::{sync::Arc, time::Duration};

use crate::{
    check::{self, Judgement, Trace, Violation},
    sim::{
        choice::{Choices, Source},
        component::Component,
        scenario::Scenario,
    },
};

/// What a run is made from, beside its choices.
#[derive(Clone)]
pub struct Params {
    /// Nodes in the cluster, 1 to 9.
    pub nodes: u8,
    /// What is deployed.
    pub component: Arc<Component>,
}

/// Which world a run happens in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorldKind {
    /// The event-driven one.
    Sim,
    /// Stock turmoil.
    #[cfg(feature = "turmoil")]
    Turmoil,
}

/// What a run did, and what the invariants say of it.
pub struct Report {
    /// Everything that happened.
    pub trace: Trace,
    /// The choices that were not 0: with scenario and parameters, the whole run.
    pub choices: Choices,
    /// Draws in all.
    pub draws: u64,
    /// The virtual time that passed.
    pub virtual_time: Duration,
    /// One for each of [`check::invariants::ALL`], in that order.
    pub judgements: Vec<Judgement>,
}

impl Report {
    /// The first violation, if any.
    pub fn violation(&self) -> Option<&Violation> {
        self.judgements.iter().find_map(|judgement| judgement.violation.as_ref())
    }
}

/// Runs `scenario` once and judges it. The same arguments give the same report, whatever ran before.
pub fn run(world: WorldKind, scenario: &Scenario, params: &Params, source: Box<dyn Source>) -> Report {
    let _ = (world, scenario, params, source);
    todo!()
}
