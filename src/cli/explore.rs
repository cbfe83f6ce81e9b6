//! `drydock explore`: many runs, every invariant.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{
    exit::{Exit, Failure},
    options::{Jobs, SetupOptions},
    output::{self, count, duration, memory, things},
    progress::Progress,
    whole::whole,
};
use crate::search::{
    explore::{Exploration, explore},
    investigate::investigate,
    setup::Setup,
    stopwatch::Stopwatch,
    summary::{Pace, Summary, ViolationSummary},
};

/// Where capsules go unless told otherwise.
const CAPSULES: &str = "target/drydock";

#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    setup: SetupOptions,
    /// Runs to make
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = whole::<u64>(1..=1_000_000_000_000))]
    runs: u64,
    /// Fail, with exit code 1, if a mark was never reached: a place in the logic that runs should come to. Some are too seldom
    /// for that in fewer than 20,000 runs
    #[arg(long)]
    all_marks: bool,
    #[command(flatten)]
    jobs: Jobs,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// Write the capsule of a violation into this directory
    #[arg(long, value_name = "DIR", default_value = CAPSULES)]
    capsules: PathBuf,
    /// Spend at most so many seconds on shrinking a violation
    #[arg(long, value_name = "N", default_value_t = 10)]
    shrink_seconds: u64,
}

pub(super) fn run(options: &Options) -> Result<Exit, Failure> {
    let setup = options.setup.setup()?;
    let (exploration, pace) = make_runs(options, &setup)?;
    let (strategy, seed) = (options.setup.strategy, options.setup.seed);
    let mut summary = Summary::new(&setup, strategy, seed, &exploration, pace);
    summary.violation = look_into(options, &setup, &exploration)?;
    output::print(&if options.json { json(&summary) } else { render(&summary) })?;
    let too_little = options.all_marks && summary.overlooked().next().is_some();
    Ok(if summary.violation.is_some() || too_little { Exit::Violation } else { Exit::Sound })
}

fn make_runs(options: &Options, setup: &Setup) -> Result<(Exploration, Pace), Failure> {
    let SetupOptions { strategy, seed, .. } = options.setup;
    let watch = Stopwatch::start();
    let mut progress = Progress::of_runs(options.runs);
    let observe = |index| setup.observe(strategy, seed, index);
    let explored = explore(options.runs, options.jobs.count(), &observe, |tally| progress.advance(tally.runs));
    progress.finish();
    let exploration =
        explored.map_err(|panic| Failure::internal(format!("seed {seed}, strategy {strategy}: {panic}")))?;
    let pace = Pace::since(watch, exploration.tally.runs);
    Ok((exploration, pace))
}

/// Shrinks a violation, writes its capsule and tells its story.
fn look_into(options: &Options, setup: &Setup, exploration: &Exploration) -> Result<Option<ViolationSummary>, Failure> {
    let Some(finding) = &exploration.finding else { return Ok(None) };
    output::error_line(&format!("run {} breaks {}; shrinking it", finding.index, finding.violation.invariant));
    let limit = Duration::from_secs(options.shrink_seconds);
    let component = options.setup.component.as_deref();
    let case = investigate(setup, component, finding, limit).map_err(Failure::internal)?;
    let capsule = match case.capsule.save(&options.capsules) {
        Ok(path) => Some(path.display().to_string()),
        Err(error) => {
            let directory = options.capsules.display();
            output::error_line(&format!(
                "cannot write the capsule into `{directory}`: {error}; choose another --capsules"
            ));
            None
        }
    };
    Ok(Some(ViolationSummary::new(setup, options.setup.seed, finding, &case, capsule)))
}

fn json(summary: &Summary) -> String {
    format!("{}\n", serde_json::to_string(summary).expect("a summary has nothing that JSON cannot say"))
}

/// The tables, then the story, so that it is what is seen last.
fn render(summary: &Summary) -> String {
    let tables = [overview(summary), faults(summary), marks(summary), invariants(summary)];
    let mut text = format!("{}\n", tables.join("\n\n"));
    for mark in summary.never_reached() {
        text.push_str(&format!("\nNever reached: {} ({})", mark.name, mark.sentence));
    }
    match &summary.violation {
        None => text.push_str(&format!("\nSound: {} broke no invariant.\n", things(summary.runs, "run"))),
        Some(violation) => {
            text.push('\n');
            violation.story.iter().for_each(|line| text.extend([line, "\n"]));
        }
    }
    text
}

fn overview(summary: &Summary) -> String {
    let scenarios: Vec<_> =
        summary.scenarios.iter().map(|line| format!("{} {}", line.name, count(line.runs))).collect();
    let about = if summary.distinct_schedules_exact { "" } else { "about " };
    let speed = summary.pace.runs_per_second as u64;
    let hash: String = summary.component_sha256.chars().take(12).collect();
    let rows = [
        ("runs", format!("{} in {}: {} runs/s", count(summary.runs), duration(summary.pace.seconds), count(speed))),
        ("distinct schedules", format!("{about}{}", count(summary.distinct_schedules))),
        ("scenarios", scenarios.join(", ")),
        ("choices drawn", count(summary.draws)),
        ("virtual time", duration(summary.virtual_seconds)),
        ("memory", summary.pace.memory_bytes_max.map_or("not told by this system".to_owned(), memory)),
        ("component", format!("{}, sha256 {hash}…", summary.component)),
        (
            "settings",
            format!(
                "seed {}, strategy {}, world {}, {}",
                summary.seed,
                summary.strategy,
                summary.world,
                things(summary.nodes.into(), "node")
            ),
        ),
    ];
    let rows = rows.map(|(name, value)| format!("{name:<20}{value}"));
    rows.join("\n")
}

fn faults(summary: &Summary) -> String {
    let rows = summary.faults.iter();
    let rows = rows.map(|line| vec![line.kind.clone(), line.effect.clone(), count(line.times), count(line.runs)]);
    output::table(&["choice", "what it does", "times#", "in runs#"], rows)
}

fn marks(summary: &Summary) -> String {
    let rows = summary.marks.iter();
    let rows = rows.map(|line| vec![line.name.clone(), count(line.times), count(line.runs), line.sentence.clone()]);
    output::table(&["mark", "times#", "in runs#", "what happens there"], rows)
}

fn invariants(summary: &Summary) -> String {
    let broken = |name: &str| match &summary.violation {
        Some(violation) if violation.broken.iter().any(|broken| broken == name) => "BROKEN",
        _ => "",
    };
    let rows = summary.invariants.iter().map(|line| {
        let checked = if line.checked == 0 { "never".to_owned() } else { count(line.checked) };
        vec![line.name.clone(), checked, count(line.runs), broken(&line.name).to_owned()]
    });
    output::table(&["invariant", "checked#", "in runs#", ""], rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::summary::{FaultLine, InvariantLine, MarkLine, ScenarioLine};

    fn summary(violation: Option<ViolationSummary>) -> Summary {
        Summary {
            seed: 1,
            strategy: "pct".to_owned(),
            world: "sim".to_owned(),
            nodes: 3,
            component: "hello".to_owned(),
            component_sha256: "ab".repeat(32),
            runs: 1_000,
            distinct_schedules: 998,
            distinct_schedules_exact: true,
            draws: 123_456,
            virtual_seconds: 5_400.0,
            pace: Pace {
                seconds: 0.25,
                cpu_seconds: Some(0.5),
                memory_bytes_max: Some(150 << 20),
                runs_per_second: 4_000.0,
            },
            scenarios: vec![ScenarioLine { name: "calm".to_owned(), runs: 1_000 }],
            faults: vec![FaultLine { kind: "disk".to_owned(), effect: "delay".to_owned(), times: 1_234, runs: 77 }],
            invariants: ["PEERS", "TAIL"]
                .map(|name| InvariantLine {
                    name: name.to_owned(),
                    sentence: String::new(),
                    checked: if name == "TAIL" { 0 } else { 2_000 },
                    runs: if name == "TAIL" { 0 } else { 1_000 },
                })
                .into(),
            marks: [("recovered", 12), ("superseded", 0)]
                .map(|(name, runs)| MarkLine {
                    name: name.to_owned(),
                    sentence: format!("{name} it is"),
                    times: runs,
                    runs,
                    is_seldom: false,
                })
                .into(),
            violation,
        }
    }

    fn violation() -> ViolationSummary {
        ViolationSummary {
            run: 999,
            scenario: "calm".to_owned(),
            invariant: "PEERS".to_owned(),
            fingerprint: "lost".to_owned(),
            broken: vec!["PEERS".to_owned()],
            why: "lost".to_owned(),
            choices_found: 9,
            choices: 1,
            shrink_tries: 20,
            smallest: true,
            capsule: None,
            headline: "PEERS broken".to_owned(),
            story: vec!["PEERS broken on n1".to_owned(), "See it again: drydock replay it.toml".to_owned()],
        }
    }

    #[test]
    fn the_table_of_a_sound_exploration() {
        insta::assert_snapshot!(render(&summary(None)));
    }

    #[test]
    fn a_mark_that_is_seldom_is_missed_only_by_many_runs() {
        let overlooked = |runs, is_seldom| {
            let mut summary = summary(None);
            summary.runs = runs;
            summary.marks[1].is_seldom = is_seldom;
            summary.overlooked().map(|mark| mark.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(overlooked(3_000, false), ["superseded"]);
        assert_eq!(overlooked(3_000, true), Vec::<String>::new());
        assert_eq!(overlooked(20_000, true), ["superseded"]);
    }

    #[test]
    fn the_story_of_a_violation_is_seen_last() {
        let text = render(&summary(Some(violation())));
        assert!(text.contains("BROKEN"));
        assert!(text.ends_with("See it again: drydock replay it.toml\n"));
    }

    #[test]
    fn the_json_is_one_line_and_can_be_read_back() {
        let summary = summary(Some(violation()));
        let text = json(&summary);
        assert_eq!(text.trim_end().lines().count(), 1);
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
    }
}
