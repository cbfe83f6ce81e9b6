//! Whole deploys: every scenario is sound whatever the choices, and the same choices are the same run.

use drydock::{
    search::{
        setup::Setup,
        twice::{first_difference, lines},
    },
    sim::run::WorldKind,
};
use proptest::{prelude::*, sample::Index};

use super::{choices, kept_in, source};
use crate::story::{how_to_see, setup};

/// More than most runs draw: what is drawn beyond is harmless.
const CHOICES_MAX: usize = 2_500;

fn sound(setup: &Setup, scenario: usize, choices: Vec<u32>) -> Result<(), TestCaseError> {
    let report = setup.run(scenario, Box::new(source(choices)));
    match report.violation() {
        None => Ok(()),
        Some(violation) => Err(TestCaseError::fail(how_to_see(setup, scenario, &report, violation))),
    }
}

proptest! {
    #![proptest_config(kept_in("fixtures/regressions/deploys.txt"))]

    #[test]
    fn every_scenario_is_sound_under_any_choices(scenario in any::<Index>(), choices in choices(CHOICES_MAX)) {
        let setup = setup(WorldKind::Sim);
        sound(&setup, scenario.index(setup.scenarios.len()), choices)?;
    }

    #[test]
    fn a_run_is_sound_when_nothing_is_harmless(
        scenario in any::<Index>(),
        choices in proptest::collection::vec(any::<u32>(), 0..CHOICES_MAX),
    ) {
        let setup = setup(WorldKind::Sim);
        sound(&setup, scenario.index(setup.scenarios.len()), choices)?;
    }

    #[test]
    fn the_same_choices_are_the_same_run(scenario in any::<Index>(), choices in choices(CHOICES_MAX)) {
        let setup = setup(WorldKind::Sim);
        let scenario = scenario.index(setup.scenarios.len());
        let once = setup.run(scenario, Box::new(source(choices)));
        let again = setup.replay(scenario, &once.choices);
        let difference = first_difference(&lines(&once.trace), &lines(&again.trace));
        prop_assert!(difference.is_none(), "{}", difference.unwrap());
        prop_assert_eq!(once.trace.hash128(), again.trace.hash128());
        prop_assert_eq!(once.virtual_time, again.virtual_time);
    }
}
