//! `drydock museum`: historic bugs, put back one at a time.

use std::{
    env,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    exit::{Exit, Failure},
    options::Jobs,
    output::{self, count, duration, things},
    progress::Steps,
    whole::whole,
};
use crate::{
    check::invariants,
    museum::{
        exhibit,
        tour::{Tour, TourError, find_root},
        verdict::{Line, Verdict},
        workshop::Budget,
    },
    search::seed::Seed,
};

/// Workshops at once, at most, unless told otherwise: a build keeps several cores busy by itself.
const JOBS_MAX: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");

/// How many times an exhibit's seeds the sound code gets beside all exhibits.
const SOUND_TIMES: u32 = 2;

/// Of an exhibit's runs the sound code gets one in so many beside a part of the exhibits.
const SOUND_PART: u64 = 5;

#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    /// The folder of exhibits [default: fixtures/museum of the sources]
    folder: Option<PathBuf>,
    /// Show this exhibit only: its name, or its number
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Show so many exhibits only
    #[arg(long, value_name = "N", conflicts_with = "only", value_parser = whole::<usize>(1..=1_000_000))]
    sample: Option<usize>,
    /// Which ones: a number, or a commit hash
    #[arg(long, value_name = "S", requires = "sample", default_value = "1")]
    sample_seed: Seed,
    /// Runs for each exhibit
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = whole::<u64>(1..=1_000_000_000))]
    runs: u64,
    /// The seed: a number, or a commit hash
    #[arg(long, value_name = "S", default_value = "1")]
    seed: Seed,
    /// Explore each with so many seeds: a bug that one of them misses is caught by luck, and counts as missed. Beside all
    /// exhibits the sound code gets twice as many
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u32>(1..=1_000))]
    seeds: u32,
    #[command(flatten)]
    jobs: Jobs,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<Exit, Failure> {
    let tour = plan(options)?;
    let folder = options.folder.clone().unwrap_or_else(|| tour.root.join("fixtures/museum"));
    let invariants: Vec<_> = invariants::ALL.iter().map(|invariant| invariant.name).collect();
    let exhibits = exhibit::load(&folder, options.only.as_deref(), &invariants).map_err(Failure::usage)?;
    let exhibits = match options.sample {
        Some(size) => exhibit::sample(exhibits, size, options.sample_seed),
        None => exhibits,
    };
    output::error_line(&format!(
        "building the sound code and {} in `{}`",
        things(exhibits.len() as u64, "exhibit"),
        tour.base.display()
    ));
    // The sound code is shown too.
    let steps = Steps::of_builds(exhibits.len() as u64 + 1);
    let lines = tour.lead(&exhibits, |line| steps.done(&format!("{}: {}", line.name, line.verdict.as_str())));
    steps.finish();
    let lines = lines.map_err(|error| match error {
        TourError::Exhibit(_) | TourError::Workshop { .. } => Failure::usage(error),
    })?;
    output::print(&if options.json { json(&lines) } else { render(&lines) })?;
    Ok(exit(&lines))
}

fn plan(options: &Options) -> Result<Tour, Failure> {
    let current = env::current_dir().map_err(|error| Failure::usage(format!("there is no current folder: {error}")))?;
    let root = find_root(Path::new(env!("CARGO_MANIFEST_DIR")), &current);
    let root = root.ok_or_else(|| Failure::usage("the museum edits the sources of drydock: run it in their folder"))?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| current.join(target));
    let jobs = options.jobs.count().min(JOBS_MAX);
    let budget = Budget { runs: options.runs, seed: options.seed, seeds: options.seeds };
    Ok(Tour { root, base: target.join("museum"), budget, sound_budget: sound_budget(options, budget), jobs })
}

/// How much the sound code is explored beside exhibits that get `each`. A part of them needs to know only that it is sound
/// where they are shown.
fn sound_budget(options: &Options, each: Budget) -> Budget {
    let shows_all = options.only.is_none() && options.sample.is_none();
    match shows_all {
        true => Budget { seeds: each.seeds.saturating_mul(SOUND_TIMES), ..each },
        false => Budget { runs: each.runs.div_ceil(SOUND_PART), seeds: 1, ..each },
    }
}

/// The worst verdict decides: what the user must repair first, then what we must, then what was missed.
fn exit(lines: &[Line]) -> Exit {
    match lines.iter().map(|line| line.verdict).max() {
        Some(Verdict::DoesNotBuild) => Exit::Usage,
        Some(Verdict::Failed) => Exit::Internal,
        Some(Verdict::Unsound | Verdict::Missed | Verdict::CaughtByAnother) => Exit::Violation,
        Some(Verdict::Caught | Verdict::Sound) | None => Exit::Sound,
    }
}

fn json(lines: &[Line]) -> String {
    format!("{}\n", serde_json::json!({ "exhibits": lines }))
}

fn render(lines: &[Line]) -> String {
    let rows = lines.iter().map(|line| {
        let named = if line.named.is_empty() { "none".to_owned() } else { line.named.join(" or ") };
        let (broken, verdict) = (line.broken.join(", "), line.verdict.as_str().to_owned());
        let seeds = format!("{} of {}", line.seeds.len() - line.seeds_missed.len(), line.seeds.len());
        vec![line.name.clone(), verdict, seeds, named, broken, count(line.runs), duration(line.cpu_seconds)]
    });
    let table = output::table(&["exhibit", "verdict", "seeds#", "must break", "broke", "runs#", "CPU time#"], rows);
    let stories = lines.iter().filter(|line| !line.story.is_empty());
    let stories: String = stories.map(|line| format!("{}: {}\n", line.name, line.story)).collect();
    format!("{table}\n\n{stories}\n{}\n", total(lines))
}

fn total(lines: &[Line]) -> String {
    let bugs = lines.iter().filter(|line| !line.named.is_empty());
    let caught = bugs.clone().filter(|line| line.verdict == Verdict::Caught).count();
    let sound = match lines.iter().find(|line| line.verdict == Verdict::Sound) {
        Some(sound) => format!("sound code survives {} runs", count(sound.runs * sound.seeds.len() as u64)),
        None => "sound code does not survive".to_owned(),
    };
    format!("{caught} of {} caught; {sound}.", bugs.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, verdict: Verdict, broken: &[&str]) -> Line {
        let named = if name.starts_with('R') { vec!["PEERS".to_owned(), "MONO".to_owned()] } else { Vec::new() };
        Line {
            name: name.to_owned(),
            verdict,
            named,
            seeds: (1..=5).map(Seed).collect(),
            seeds_missed: if verdict.is_good() { vec![] } else { vec![Seed(3)] },
            broken: broken.iter().map(|&name| name.to_owned()).collect(),
            runs: 1_000,
            cpu_seconds: 0.31,
            story: broken.first().map(|name| format!("{name} broken on n1 at 80 ms")).unwrap_or_default(),
        }
    }

    #[test]
    fn the_table_tells_what_was_caught_and_how() {
        let lines = [
            line("sound code", Verdict::Sound, &[]),
            line("R01-peers-put-races-flush", Verdict::Caught, &["MONO", "TERM"]),
            line("R06-late-peer-after-finish", Verdict::Missed, &[]),
        ];
        insta::assert_snapshot!(render(&lines));
    }

    #[test]
    fn beside_all_exhibits_the_sound_code_gets_twice_the_seeds_and_beside_some_a_part() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        let of = |line: &[&str]| {
            let options = <Line as clap::Parser>::try_parse_from([&["museum"], line].concat()).unwrap().options;
            let each = Budget { runs: options.runs, seed: options.seed, seeds: options.seeds };
            let sound = sound_budget(&options, each);
            (sound.runs, sound.seeds)
        };
        assert_eq!(of(&[]), (10_000, 2));
        assert_eq!(of(&["--seeds", "5"]), (10_000, 10));
        assert_eq!(of(&["--seeds", "5", "--sample", "2"]), (2_000, 1));
    }

    #[test]
    fn the_worst_verdict_decides_the_exit_code() {
        let of =
            |verdicts: &[Verdict]| exit(&verdicts.iter().map(|&verdict| line("R", verdict, &[])).collect::<Vec<_>>());
        assert_eq!(of(&[Verdict::Sound, Verdict::Caught]), Exit::Sound);
        assert_eq!(of(&[Verdict::Sound, Verdict::Missed]), Exit::Violation);
        assert_eq!(of(&[Verdict::Unsound, Verdict::Caught]), Exit::Violation);
        assert_eq!(of(&[Verdict::Missed, Verdict::Failed]), Exit::Internal);
        assert_eq!(of(&[Verdict::Failed, Verdict::DoesNotBuild]), Exit::Usage);
    }
}
