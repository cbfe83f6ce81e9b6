//! `drydock twice`: the same runs, twice in this process and once in another with another environment.
//!
//! The other process is this same executable, started with the hidden command `traces`; or another build of it, so that
//! debug and release builds can be compared.

use std::{
    env,
    path::{Path, PathBuf},
    process,
};

use clap::Args;

use super::{
    exit::{Exit, Failure},
    options::SetupOptions,
    output::{self, things},
    whole::whole,
};
use crate::{
    check::Trace,
    search::{
        setup::Setup,
        twice::{Difference, first_difference, lines},
    },
};

#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    setup: SetupOptions,
    /// Seeds for each scenario
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = whole::<u64>(1..=1_000_000))]
    seeds: u64,
    /// Compare with this executable, for instance a debug build, instead of another process of this one
    #[arg(long, value_name = "EXE")]
    against: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct TraceOptions {
    #[command(flatten)]
    setup: SetupOptions,
    /// Print the hashes of so many runs of each scenario
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// Print the events of this run instead
    #[arg(long, value_name = "I")]
    lines_of: Option<u64>,
}

pub(super) fn run(options: &Options) -> Result<Exit, Failure> {
    let setup = options.setup.setup()?;
    let runs = options.seeds * setup.scenarios.len() as u64;
    let hashes: Vec<_> = (0..runs).map(|index| hash(&trace(&options.setup, &setup, index))).collect();
    let difference = match differs_here(options, &setup, &hashes) {
        Some(found) => Some(found),
        None => differs_elsewhere(options, &setup, &hashes)?,
    };
    let scenarios = things(setup.scenarios.len() as u64, "scenario");
    let seeds = things(options.seeds, "seed");
    let (text, exit) = match difference {
        None => (
            format!("No difference: {scenarios}, {seeds} each, twice here and once in another process.\n"),
            Exit::Sound,
        ),
        Some(told) => (told, Exit::Violation),
    };
    output::print(&text)?;
    Ok(exit)
}

/// Prints what `twice` compares.
pub(super) fn print_traces(options: &TraceOptions) -> Result<Exit, Failure> {
    let setup = options.setup.setup()?;
    let runs = options.seeds * setup.scenarios.len() as u64;
    let text = match options.lines_of {
        Some(index) => lines(&trace(&options.setup, &setup, index)),
        None => (0..runs).map(|index| hash(&trace(&options.setup, &setup, index))).collect(),
    };
    output::print(&text.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    Ok(Exit::Sound)
}

fn trace(options: &SetupOptions, setup: &Setup, index: u64) -> Trace {
    let scenario = setup.scenario_of(index);
    setup.run(scenario, options.strategy.source(options.seed.nth(index))).trace
}

fn hash(trace: &Trace) -> String {
    format!("{:032x}", trace.hash128())
}

/// The first run that differs when it is made again in this process.
fn differs_here(options: &Options, setup: &Setup, hashes: &[String]) -> Option<String> {
    let again = |index| trace(&options.setup, setup, index);
    let index = (0..hashes.len() as u64).find(|&index| hash(&again(index)) != hashes[index as usize])?;
    let difference = first_difference(&lines(&again(index)), &lines(&again(index)));
    Some(tell(setup, index, "in one process", difference.as_ref()))
}

/// The first run that differs in another process.
fn differs_elsewhere(options: &Options, setup: &Setup, hashes: &[String]) -> Result<Option<String>, Failure> {
    let there = ask(options, &["--seeds", &options.seeds.to_string()])?;
    if there.len() != hashes.len() {
        let cause = format!("the other process made {} runs of {}: is it another version?", there.len(), hashes.len());
        return Err(Failure::Usage(cause));
    }
    let Some(index) = (0..hashes.len()).find(|&index| hashes[index] != there[index]) else { return Ok(None) };
    let index = index as u64;
    let here = lines(&trace(&options.setup, setup, index));
    let difference = first_difference(&here, &ask(options, &["--lines-of", &index.to_string()])?);
    Ok(Some(tell(setup, index, "in two processes", difference.as_ref())))
}

fn tell(setup: &Setup, index: u64, place: &str, difference: Option<&Difference>) -> String {
    let name = setup.scenarios[setup.scenario_of(index)].name;
    let what =
        difference.map_or("it did not differ when made once more: it differs at times".to_owned(), ToString::to_string);
    format!("Run {index} of scenario `{name}`, made twice {place}: {what}\n")
}

/// Lines from `drydock traces` in another process, whose environment is not ours.
fn ask(options: &Options, what: &[&str]) -> Result<Vec<String>, Failure> {
    let this =
        env::current_exe().map_err(|error| Failure::internal(format!("cannot find this executable: {error}")))?;
    let executable: &Path = options.against.as_deref().unwrap_or(&this);
    let mut command = process::Command::new(executable);
    command.arg("traces").args(what).args(setup_args(&options.setup));
    command.env_clear().envs([("TZ", "Asia/Kathmandu"), ("LANG", "tr_TR.UTF-8"), ("RUST_BACKTRACE", "1")]);
    let name = executable.display();
    let output = command.output().map_err(|error| Failure::usage(format!("cannot start `{name}`: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::usage(format!("`{name} traces` ended with {}: {said}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn setup_args(options: &SetupOptions) -> Vec<std::ffi::OsString> {
    let mut args: Vec<std::ffi::OsString> = Vec::new();
    let mut push = |name: &str, value: &std::ffi::OsStr| args.extend([name.into(), value.to_owned()]);
    push("--seed", options.seed.to_string().as_ref());
    push("--nodes", options.nodes.to_string().as_ref());
    push("--strategy", options.strategy.to_string().as_ref());
    push("--world", options.world.to_string().as_ref());
    options.scenario.iter().for_each(|name| push("--scenario", name.as_ref()));
    options.component.iter().for_each(|path| push("--component", path.as_ref()));
    args
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        setup: SetupOptions,
    }

    #[test]
    fn another_process_is_told_all_that_this_one_was() {
        let told =
            ["x", "--seed", "9", "--nodes", "5", "--strategy", "uniform", "--scenario", "a b", "--component", "p q"];
        let options = Line::parse_from(told);
        let passed = setup_args(&options.setup);
        let read = Line::parse_from([std::ffi::OsString::from("x")].into_iter().chain(passed));
        assert_eq!(format!("{read:?}"), format!("{options:?}"));
    }
}
