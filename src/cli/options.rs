//! What several commands over the simulated world are told in the same way.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

use clap::Args;

use super::{exit::Failure, whole::whole};
use crate::{
    search::{seed::Seed, setup::Setup, strategy::Strategy},
    sim::{
        component::Component,
        run::{Params, WorldKind},
        scenario::Scenario,
    },
    sims,
};

/// Threads, at most: more would only wait for each other.
const JOBS_MAX: NonZeroUsize = NonZeroUsize::new(512).expect("not zero");

/// The largest payload that can be asked for: what a node unpacks.
const MIB_MAX: u32 = 2 * 1024;

/// What is run.
#[derive(Clone, Debug, Args)]
pub(super) struct SetupOptions {
    /// Run this scenario only (see `drydock scenarios`)
    #[arg(long, value_name = "NAME")]
    pub(super) scenario: Option<String>,
    /// The seed: a number, or a commit hash
    #[arg(long, value_name = "S", default_value = "1")]
    pub(super) seed: Seed,
    /// Nodes in the cluster, 1 to 9; in the scenario `mixed` one of several numbers
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = whole::<u8>(1..=9))]
    pub(super) nodes: u8,
    /// Deploy this: a directory, or an npm-style .tgz; without it, a built-in component
    #[arg(long, value_name = "PATH")]
    pub(super) component: Option<PathBuf>,
    /// Deploy a component of so many MiB, which takes the memory of one
    #[arg(long, value_name = "N", conflicts_with = "component", value_parser = whole::<u32>(1..=MIB_MAX))]
    pub(super) payload_mib: Option<u32>,
    /// How seeds become choices: pct, uniform, or calm, where nothing happens
    #[arg(long, value_name = "NAME", default_value_t = Strategy::Pct)]
    pub(super) strategy: Strategy,
    /// The world to run in: sim or turmoil
    #[arg(long, value_name = "NAME", default_value_t = WorldKind::Sim)]
    pub(super) world: WorldKind,
}

impl SetupOptions {
    /// Reads what was asked for.
    pub(super) fn setup(&self) -> Result<Setup, Failure> {
        let scenarios = pick_scenarios(self.scenario.as_deref(), sims::ALL).map_err(Failure::Usage)?;
        let component = match self.payload_mib {
            Some(mib) => Component::large(mib),
            None => Component::load(self.component.as_deref()).map_err(Failure::usage)?,
        };
        let params = Params { nodes: self.nodes, component: Arc::new(component) };
        Ok(Setup { world: self.world, scenarios, params })
    }
}

/// The scenario of that name, or all.
fn pick_scenarios(name: Option<&str>, all: &'static [Scenario]) -> Result<Vec<&'static Scenario>, String> {
    let picked: Vec<_> = all.iter().filter(|scenario| name.is_none_or(|name| scenario.name == name)).collect();
    match (picked.is_empty(), name) {
        (false, _) => Ok(picked),
        (true, None) => Err("this drydock has no scenario: add one to sims/".to_owned()),
        (true, Some(name)) => {
            let names: Vec<_> = all.iter().map(|scenario| scenario.name).collect();
            Err(format!("there is no scenario `{name}`: choose one of {}", names.join(", ")))
        }
    }
}

/// Threads to run on.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Jobs {
    /// Threads to run on [default: one for each core]
    #[arg(long, value_name = "N", value_parser = whole(NonZeroUsize::MIN..=JOBS_MAX))]
    jobs: Option<NonZeroUsize>,
}

impl Jobs {
    /// How many.
    pub(super) fn count(self) -> NonZeroUsize {
        self.jobs.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Scenario] = &[
        Scenario { name: "calm", summary: "", other_sizes: &[], tell: |_| Box::pin(async {}) },
        Scenario { name: "storm", summary: "", other_sizes: &[], tell: |_| Box::pin(async {}) },
    ];

    #[test]
    fn all_scenarios_are_run_unless_one_is_named() {
        let names =
            |name| pick_scenarios(name, ALL).map(|picked| picked.iter().map(|one| one.name).collect::<Vec<_>>());
        assert_eq!(names(None).unwrap(), ["calm", "storm"]);
        assert_eq!(names(Some("storm")).unwrap(), ["storm"]);
        assert_eq!(names(Some("strom")).unwrap_err(), "there is no scenario `strom`: choose one of calm, storm");
    }
}
