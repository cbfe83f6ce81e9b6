//! `drydock worlds`: the same choices in the event-driven world and on stock turmoil, whose verdicts must agree.

use clap::Args;

use super::{
    exit::{Exit, Failure},
    options::SetupOptions,
    output::{self, things},
    whole::whole,
};
use crate::{
    check::invariants,
    search::setup::Setup,
    sim::{
        choice::Replay,
        run::{Report, WorldKind, run as run_once},
    },
};

#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    setup: SetupOptions,
    /// Runs to compare
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = whole::<u64>(1..=1_000_000))]
    runs: u64,
}

pub(super) fn run(options: &Options) -> Result<Exit, Failure> {
    let setup = options.setup.setup()?;
    let differing: Vec<String> = (0..options.runs).filter_map(|index| compare(options, &setup, index)).collect();
    let runs = things(options.runs, "run");
    if differing.is_empty() {
        output::print(&format!("No difference: the same choices got the same verdict in {runs} of both worlds.\n"))?;
        return Ok(Exit::Sound);
    }
    let count = things(differing.len() as u64, "verdict");
    output::print(&format!("{}{count} of {runs} differ.\n", differing.concat()))?;
    Ok(Exit::Violation)
}

/// What differs in the verdicts on a run's choices, if anything.
fn compare(options: &Options, setup: &Setup, index: u64) -> Option<String> {
    let scenario = setup.scenarios[setup.scenario_of(index)];
    let source = options.setup.strategy.source(options.setup.seed.nth(index));
    let here = run_once(WorldKind::Sim, scenario, &setup.params, source);
    let there = run_once(WorldKind::Turmoil, scenario, &setup.params, Box::new(Replay(here.choices.clone())));
    let (sim, turmoil) = (verdict(&here), verdict(&there));
    (sim != turmoil).then(|| format!("run {index}, scenario {}: sim says {sim}, turmoil {turmoil}\n", scenario.name))
}

fn verdict(report: &Report) -> String {
    let judged = invariants::ALL.iter().zip(&report.judgements);
    let broken: Vec<_> = judged.filter(|(_, judged)| judged.violation.is_some()).map(|(it, _)| it.name).collect();
    if broken.is_empty() { "sound".to_owned() } else { broken.join("+") }
}
