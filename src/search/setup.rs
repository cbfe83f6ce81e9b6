//! What is run: a world, scenarios, and what all runs have in common.

use std::{fmt, str::FromStr};

use crate::{
    check::Violation,
    search::{
        seed::Seed,
        strategy::Strategy,
        tally::{Finding, Observation},
    },
    sim::{
        choice::{Choices, Replay, Source},
        run::{Params, Report, WorldKind, run},
        scenario::Scenario,
    },
};

/// What is run, but for the choices.
#[derive(Clone)]
pub struct Setup {
    /// The world.
    pub world: WorldKind,
    /// The scenarios, taken in turn. Never empty.
    pub scenarios: Vec<&'static Scenario>,
    /// Nodes and component.
    pub params: Params,
}

/// A violation that shrinking and replay look for: the same invariant, broken in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The invariant's name.
    pub invariant: String,
    /// How it was broken.
    pub fingerprint: String,
}

impl Break {
    /// What `violation` broke, and how.
    pub fn of(violation: &Violation) -> Self {
        Self { invariant: violation.invariant.to_owned(), fingerprint: violation.fingerprint.clone() }
    }

    /// The violation in `report` that is this one.
    pub fn find<'a>(&self, report: &'a Report) -> Option<&'a Violation> {
        let mut violations = report.judgements.iter().filter_map(|judgement| judgement.violation.as_ref());
        violations.find(|violation| Self::of(violation) == *self)
    }
}

impl Setup {
    /// The scenario of an exploration's `index`-th run.
    pub fn scenario_of(&self, index: u64) -> usize {
        (index % self.scenarios.len() as u64) as usize
    }

    /// Makes one run of the `scenario`-th scenario.
    pub fn run(&self, scenario: usize, source: Box<dyn Source>) -> Report {
        run(self.world, self.scenarios[scenario], &self.params, source)
    }

    /// Makes the same run again.
    pub fn replay(&self, scenario: usize, choices: &Choices) -> Report {
        self.run(scenario, Box::new(Replay(choices.clone())))
    }

    /// Makes the `index`-th run of an exploration and keeps what must be known of it.
    pub fn observe(&self, strategy: Strategy, seed: Seed, index: u64) -> Observation {
        let scenario = self.scenario_of(index);
        let report = self.run(scenario, strategy.source(seed.nth(index)));
        let finding = report.violation().cloned().map(|violation| Finding {
            index,
            scenario,
            choices: report.choices.clone(),
            violation,
            broken: report
                .judgements
                .iter()
                .filter_map(|judgement| Some(judgement.violation.as_ref()?.invariant))
                .collect(),
        });
        Observation::of(scenario, &report, finding)
    }
}

impl fmt::Display for WorldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sim => "sim",
            #[cfg(feature = "turmoil")]
            Self::Turmoil => "turmoil",
        })
    }
}

impl FromStr for WorldKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sim" => Ok(Self::Sim),
            #[cfg(feature = "turmoil")]
            "turmoil" => Ok(Self::Turmoil),
            #[cfg(not(feature = "turmoil"))]
            "turmoil" => Err("this drydock was built without the feature `turmoil`: build it with".to_owned()),
            _ => Err(format!("there is no world `{text}`: choose sim or turmoil")),
        }
    }
}
