//! Every scenario on every world: calm, and under the seeds of the default strategy.

use std::time::Duration;

use drydock::{
    search::{
        investigate::investigate,
        seed::Seed,
        setup::Setup,
        strategy::Strategy,
        tally::Finding,
        twice::{first_difference, lines},
    },
    sim::{
        choice::Calm,
        run::{Report, WorldKind},
    },
};

use crate::story::{how_to_see, setup, told};

/// How long a violation is made smaller before it is told.
const SHRINKING_MAX: Duration = Duration::from_secs(10);

fn assert_sound_when_calm(setup: &Setup) {
    for scenario in 0..setup.scenarios.len() {
        let report = setup.run(scenario, Box::new(Calm));
        if let Some(violation) = report.violation() {
            panic!("{}", how_to_see(setup, scenario, &report, violation));
        }
    }
}

/// Each scenario under so many seeds.
fn assert_sound(setup: &Setup, strategy: Strategy, seeds: u64) {
    for index in 0..seeds * setup.scenarios.len() as u64 {
        let observed = setup.run(setup.scenario_of(index), strategy.source(Seed(0).nth(index)));
        if observed.violation().is_some() {
            panic!("{}", smallest(setup, index, observed));
        }
    }
}

/// The least that it takes to break the same again, and how to see it.
fn smallest(setup: &Setup, index: u64, report: Report) -> String {
    let violation = report.violation().cloned().expect("it was found to break");
    let scenario = setup.scenario_of(index);
    let broken = vec![violation.invariant];
    let finding = Finding { index, scenario, choices: report.choices, violation, broken };
    match investigate(setup, None, &finding, SHRINKING_MAX) {
        Ok(case) => told(&case.capsule, &case.violation),
        Err(error) => error.to_string(),
    }
}

fn is_same_twice(setup: &Setup, seeds: u64) {
    for index in 0..seeds * setup.scenarios.len() as u64 {
        let trace = || setup.run(setup.scenario_of(index), Strategy::Pct.source(Seed(1).nth(index))).trace;
        let difference = first_difference(&lines(&trace()), &lines(&trace()));
        assert!(difference.is_none(), "run {index}: {}", difference.unwrap());
    }
}

#[test]
fn every_scenario_is_sound_when_nothing_happens() {
    assert_sound_when_calm(&setup(WorldKind::Sim));
}

#[test]
fn every_scenario_is_sound_under_200_seeds() {
    assert_sound(&setup(WorldKind::Sim), Strategy::Pct, 200);
}

#[test]
fn every_scenario_is_sound_when_any_ready_task_may_run() {
    assert_sound(&setup(WorldKind::Sim), Strategy::Uniform, 50);
}

#[test]
fn a_run_told_twice_is_the_same_run() {
    is_same_twice(&setup(WorldKind::Sim), 4);
}

#[test]
fn a_run_is_the_same_whatever_ran_before() {
    let setup = setup(WorldKind::Sim);
    let hash = |scenario| setup.run(scenario, Box::new(Calm)).trace.hash128();
    let forward: Vec<_> = (0..setup.scenarios.len()).map(hash).collect();
    let mut backward: Vec<_> = (0..setup.scenarios.len()).rev().map(hash).collect();
    backward.reverse();
    assert_eq!(forward, backward);
}

#[cfg(feature = "turmoil")]
mod on_stock_turmoil {
    use super::*;

    #[test]
    fn every_scenario_is_sound_when_nothing_happens() {
        assert_sound_when_calm(&setup(WorldKind::Turmoil));
    }

    #[test]
    fn every_scenario_is_sound_under_3_seeds() {
        assert_sound(&setup(WorldKind::Turmoil), Strategy::Pct, 3);
    }

    #[test]
    fn a_run_told_twice_is_the_same_run() {
        is_same_twice(&setup(WorldKind::Turmoil), 1);
    }
}
