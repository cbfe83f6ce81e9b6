//! `drydock replay`: the run in a capsule again.

use std::path::PathBuf;

use clap::Args;

use super::{
    exit::{Exit, Failure},
    output::{self, things},
};
use crate::{
    search::{
        capsule::Capsule,
        setup::Setup,
        story::{self, Plot},
    },
    sim::run::{Report, WorldKind},
};

#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    /// The capsule
    capsule: PathBuf,
    /// Print every event
    #[arg(long)]
    trace: bool,
    /// Run in this world instead of the capsule's: sim or turmoil
    #[arg(long, value_name = "NAME")]
    world: Option<WorldKind>,
    /// Read the component from here instead of where the capsule says
    #[arg(long, value_name = "PATH")]
    component: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> Result<Exit, Failure> {
    let capsule = Capsule::load(&options.capsule).map_err(Failure::usage)?;
    let setup = capsule.setup(options.world, options.component.as_deref()).map_err(Failure::usage)?;
    let report = setup.replay(0, &capsule.choices);
    let mut text = if options.trace { trace_text(&report) } else { String::new() };
    text.push_str(&verdict(options, &capsule, &setup, &report));
    output::print(&text)?;
    Ok(if report.violation().is_some() { Exit::Violation } else { Exit::Sound })
}

fn trace_text(report: &Report) -> String {
    let mut text: String = report.trace.entries().iter().map(|entry| format!("{entry}\n")).collect();
    text.push_str(&format!("trace {:032x}\n\n", report.trace.hash128()));
    text
}

/// Does the capsule's violation come again, another one, or none?
fn verdict(options: &Options, capsule: &Capsule, setup: &Setup, report: &Report) -> String {
    let note = &capsule.violation;
    let (again, violation) = match (capsule.broken().find(report), report.violation()) {
        (Some(violation), _) => (String::new(), violation),
        (None, Some(violation)) => {
            (format!("Not {} ({}) is broken now, but another:\n\n", note.invariant, note.fingerprint), violation)
        }
        (None, None) => return sound(capsule, report),
    };
    let setting = format!(
        "Replayed in world {}: scenario `{}`, {}, component `{}`{}.",
        setup.world,
        capsule.scenario,
        things(setup.scenarios[0].size_in(capsule.nodes, &report.choices).into(), "node"),
        capsule.component.name,
        unmet(capsule, report),
    );
    let replay = format!("drydock replay {} --trace", options.capsule.display());
    let plot = Plot { setting, violation, trace: &report.trace, choices: &report.choices, replay };
    format!("{again}{}\n", story::tell(&plot).join("\n"))
}

fn sound(capsule: &Capsule, report: &Report) -> String {
    let note = &capsule.violation;
    let unmet = unmet(capsule, report);
    format!("Sound: no invariant is broken now; the capsule broke {}: {}{unmet}\n", note.invariant, note.why)
}

/// How many of the capsule's choices this run never asked for: the code has changed, or the world is another.
fn unmet(capsule: &Capsule, report: &Report) -> String {
    let unmet = capsule.choices.keys().filter(|label| !report.choices.contains_key(label)).count();
    match unmet {
        0 => String::new(),
        _ => format!("; {unmet} of {} did not come up", things(capsule.choices.len() as u64, "choice")),
    }
}
