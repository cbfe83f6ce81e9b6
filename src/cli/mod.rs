//! The command line: one file for each command.
//!
//! Commands parse (`options`), call `search`, `museum`, `real` or `client`, and print (`output`); no decision about runs or
//! deployments is taken here. How each ends is an `Exit` or a `Failure`. A build without one of the worlds lacks its commands.

#[cfg(feature = "real")]
mod cluster;
#[cfg(feature = "real")]
mod config;
#[cfg(feature = "real")]
mod deploy;
#[cfg(feature = "real")]
mod deployments;
mod exit;
#[cfg(feature = "sim")]
mod explore;
mod invariants;
#[cfg(feature = "real")]
mod live;
#[cfg(feature = "sim")]
mod museum;
#[cfg(feature = "real")]
mod node;
#[cfg(feature = "sim")]
mod options;
mod output;
#[cfg(feature = "sim")]
mod progress;
#[cfg(feature = "real")]
mod remote;
#[cfg(feature = "sim")]
mod replay;
#[cfg(feature = "sim")]
mod scenarios;
#[cfg(feature = "sim")]
mod twice;
mod whole;
#[cfg(feature = "turmoil")]
mod worlds;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use self::exit::{Exit, Failure};
use crate::panics::panic_message;

/// Explores thousands of deploys of a component on a simulated cluster, and checks every promise; and deploys it for real.
///
/// Exit codes: 0 sound (or deployed), 1 an invariant is broken (or two runs differ, the museum missed a bug, or a deployment
/// failed), 2 wrong usage or input (or a stream that broke off before it told how a deployment ended), 3 an error in drydock
/// itself.
#[derive(Debug, Parser)]
#[command(name = "drydock", version)]
#[cfg_attr(feature = "sim", command(args_conflicts_with_subcommands = true))]
#[cfg_attr(not(feature = "sim"), command(subcommand_required = true))]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[cfg(feature = "sim")]
    #[command(flatten)]
    explore: explore::Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes many runs and checks every invariant (the default command)
    #[cfg(feature = "sim")]
    Explore(explore::Options),
    /// Makes the run in a capsule again, bit for bit
    #[cfg(feature = "sim")]
    Replay(replay::Options),
    /// Makes runs twice here and once in another process, and names the first event that differs
    #[cfg(feature = "sim")]
    Twice(twice::Options),
    /// Makes the same runs in the event-driven world and on stock turmoil, and compares the verdicts
    #[cfg(feature = "turmoil")]
    Worlds(worlds::Options),
    /// Lists the scenarios
    #[cfg(feature = "sim")]
    Scenarios,
    /// Lists the invariants
    Invariants,
    /// Puts historic bugs back, one at a time, and tells which are caught
    #[cfg(feature = "sim")]
    Museum(museum::Options),
    /// Prints traces for `twice`
    #[cfg(feature = "sim")]
    #[command(hide = true)]
    Traces(twice::TraceOptions),
    /// Deploys a component on a cluster of real processes on this machine, and judges what came of it
    #[cfg(feature = "real")]
    Cluster(cluster::Options),
    /// Runs one node of a real cluster, until SIGTERM or SIGINT
    #[cfg(feature = "real")]
    Node(node::Options),
    /// Deploys a component on a running node, and shows how it goes; exit code 0 exactly when it succeeded
    #[cfg(feature = "real")]
    Deploy(deploy::Options),
    /// Lists the deployments that a running node knows
    #[cfg(feature = "real")]
    Deployments(deployments::Options),
    /// Shows a deployment's log, then what comes, to its end
    #[cfg(feature = "real")]
    Tail(deployments::TailOptions),
    /// Deploys the payload of an earlier deployment again
    #[cfg(feature = "real")]
    Rollback(deploy::RollbackOptions),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    panic::set_hook(Box::new(report_panic));
    let ended = catch_unwind(AssertUnwindSafe(|| match Cli::try_parse() {
        Ok(cli) => run(&cli),
        Err(error) => output::answer_clap(&error),
    }));
    let ended = ended.unwrap_or_else(|panic| Err(Failure::internal(panic_message(&*panic))));
    ended.unwrap_or_else(|failure| output::complain(&failure)).into()
}

fn run(cli: &Cli) -> Result<Exit, Failure> {
    match &cli.command {
        #[cfg(feature = "sim")]
        None => explore::run(&cli.explore),
        #[cfg(not(feature = "sim"))]
        None => unreachable!("clap wants a command where there is no default one"),
        #[cfg(feature = "sim")]
        Some(Command::Explore(options)) => explore::run(options),
        #[cfg(feature = "sim")]
        Some(Command::Replay(options)) => replay::run(options),
        #[cfg(feature = "sim")]
        Some(Command::Twice(options)) => twice::run(options),
        #[cfg(feature = "turmoil")]
        Some(Command::Worlds(options)) => worlds::run(options),
        #[cfg(feature = "sim")]
        Some(Command::Scenarios) => scenarios::run(),
        Some(Command::Invariants) => invariants::run(),
        #[cfg(feature = "sim")]
        Some(Command::Museum(options)) => museum::run(options),
        #[cfg(feature = "sim")]
        Some(Command::Traces(options)) => twice::print_traces(options),
        #[cfg(feature = "real")]
        Some(Command::Cluster(options)) => cluster::run(options),
        #[cfg(feature = "real")]
        Some(Command::Node(options)) => node::run(options),
        #[cfg(feature = "real")]
        Some(Command::Deploy(options)) => deploy::run(options),
        #[cfg(feature = "real")]
        Some(Command::Deployments(options)) => deployments::run(options),
        #[cfg(feature = "real")]
        Some(Command::Tail(options)) => deployments::tail(options),
        #[cfg(feature = "real")]
        Some(Command::Rollback(options)) => deploy::roll_back(options),
    }
}

/// Says where drydock itself panicked; what and why is said when the panic arrives in [`main`].
fn report_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    output::error_line(&format!("panic at {place}: please report it with the command line"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        backtrace.to_string().lines().for_each(output::error_line);
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn explore_is_the_default_command() {
        let bare = Cli::try_parse_from(["drydock", "--runs", "10"]).unwrap();
        let named = Cli::try_parse_from(["drydock", "explore", "--runs", "10"]).unwrap();
        let Some(Command::Explore(named)) = named.command else { panic!("explore was asked for") };
        assert_eq!(format!("{:?}", bare.explore), format!("{named:?}"));
    }

    #[test]
    fn nonsense_flags_get_one_clear_line() {
        let lines: &[&[&str]] = &[
            &["--rnus", "10"],
            &["--runs", "0"],
            &["--runs", "many"],
            &["--seed", "blue"],
            &["--nodes", "0"],
            &["--nodes", "10"],
            &["--strategy", "luck"],
            &["--world", "flat"],
            &["--jobs", "0"],
            &["--json=yes"],
            &["sink"],
            &["replay"],
            &["replay", "a", "b"],
            &["museum", "--only"],
            &["--runs", "1", "scenarios"],
        ];
        let told = lines.iter().map(|line| {
            let error = Cli::try_parse_from([&["drydock"], *line].concat()).unwrap_err();
            format!("{}\n  {}", line.join(" "), output::clap_line(&error))
        });
        insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
    }
}
