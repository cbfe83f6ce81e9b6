//! Was a bug caught by what had to catch it?

use serde::Serialize;

use crate::search::{seed::Seed, summary::Summary};

/// What is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The code as it is: nothing may break.
    Sound,
    /// A bug put back: one of these invariants must break.
    Bug(&'a [String]),
}

/// How an exploration ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It said this.
    Explored(Box<Summary>),
    /// It did not end in time.
    Hung,
    /// The edited code does not build.
    DoesNotBuild(String),
    /// The program failed.
    Failed(String),
}

impl Outcome {
    fn summary(&self) -> Option<&Summary> {
        match self {
            Self::Explored(summary) => Some(summary),
            _ => None,
        }
    }

    /// What broke and how, or what went wrong.
    fn story(&self) -> Option<String> {
        match self {
            Self::Explored(summary) => summary.violation.as_ref().map(|violation| violation.headline.clone()),
            Self::Hung => Some("the exploration did not end in time and was stopped".to_owned()),
            Self::DoesNotBuild(cause) | Self::Failed(cause) => Some(cause.clone()),
        }
    }
}

/// What that means, from good to bad: the worst is what an exhibit gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Sound code survived the budget.
    Sound,
    /// The bug was caught by an invariant that was named.
    Caught,
    /// The bug broke other invariants only.
    CaughtByAnother,
    /// The bug survived the budget, or never ended.
    Missed,
    /// Sound code broke an invariant.
    Unsound,
    /// The harness failed.
    Failed,
    /// The edit applies, but what it makes is no program: the user must repair it first.
    DoesNotBuild,
}

impl Verdict {
    /// The verdict on `subject`.
    pub fn on(subject: Subject<'_>, outcome: &Outcome) -> Self {
        let broken = match outcome {
            Outcome::Explored(summary) => summary.violation.as_ref().map(|violation| &violation.broken),
            Outcome::Hung => None,
            Outcome::DoesNotBuild(_) => return Self::DoesNotBuild,
            Outcome::Failed(_) => return Self::Failed,
        };
        match (subject, broken) {
            (Subject::Sound, None) if *outcome == Outcome::Hung => Self::Unsound,
            (Subject::Sound, None) => Self::Sound,
            (Subject::Sound, Some(_)) => Self::Unsound,
            (Subject::Bug(_), None) => Self::Missed,
            (Subject::Bug(named), Some(broken)) if broken.iter().any(|name| named.contains(name)) => Self::Caught,
            (Subject::Bug(_), Some(_)) => Self::CaughtByAnother,
        }
    }

    /// Did the exploration end as it must?
    pub fn is_good(self) -> bool {
        matches!(self, Self::Sound | Self::Caught)
    }

    /// The verdict in a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Unsound => "UNSOUND",
            Self::Caught => "caught",
            Self::CaughtByAnother => "CAUGHT BY ANOTHER",
            Self::Missed => "MISSED",
            Self::DoesNotBuild => "DOES NOT BUILD",
            Self::Failed => "FAILED",
        }
    }
}

/// A line of the museum's table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// The exhibit, or `sound code`.
    pub name: String,
    /// Caught or not.
    pub verdict: Verdict,
    /// The invariants of which one must catch it.
    pub named: Vec<String>,
    /// The seeds with which it was explored.
    pub seeds: Vec<Seed>,
    /// Those of them that did not end as they must.
    pub seeds_missed: Vec<Seed>,
    /// The invariants that broke.
    pub broken: Vec<String>,
    /// Runs made, up to the first violation: those of the seed that took the most.
    pub runs: u64,
    /// Processor time that they took, or real time where the system does not tell.
    pub cpu_seconds: f64,
    /// What broke and how, or what went wrong.
    pub story: String,
}

impl Line {
    /// The line of `subject`, from its outcomes, each with its seed.
    ///
    /// # Panics
    /// When there is no outcome.
    pub fn new(name: &str, subject: Subject<'_>, outcomes: &[(Seed, Outcome)]) -> Self {
        let named = match subject {
            Subject::Sound => Vec::new(),
            Subject::Bug(named) => named.to_vec(),
        };
        let verdict = |outcome: &Outcome| Verdict::on(subject, outcome);
        let worst = outcomes.iter().max_by_key(|(_, outcome)| verdict(outcome));
        let (worst_seed, worst) = worst.expect("a subject is explored at least once");
        let summaries: Vec<_> = outcomes.iter().filter_map(|(_, outcome)| outcome.summary()).collect();
        let mut broken = Vec::new();
        for name in summaries.iter().filter_map(|summary| summary.violation.as_ref()).flat_map(|one| &one.broken) {
            if !broken.contains(name) {
                broken.push(name.clone());
            }
        }
        let missed = outcomes.iter().filter(|(_, outcome)| !verdict(outcome).is_good()).map(|(seed, _)| *seed);
        let story = match worst.story() {
            story if outcomes.len() == 1 || verdict(worst).is_good() => story.unwrap_or_default(),
            story => format!("seed {worst_seed}: {}", story.as_deref().unwrap_or("nothing breaks")),
        };
        Self {
            name: name.to_owned(),
            verdict: verdict(worst),
            named,
            seeds: outcomes.iter().map(|(seed, _)| *seed).collect(),
            seeds_missed: missed.collect(),
            broken,
            runs: summaries.iter().map(|summary| summary.runs).max().unwrap_or(0),
            cpu_seconds: summaries.iter().map(|summary| summary.pace.cpu_seconds.unwrap_or(summary.pace.seconds)).sum(),
            story,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::summary::{Pace, ViolationSummary};

    fn explored(broken: &[&str]) -> Outcome {
        let violation = ViolationSummary {
            run: 3,
            scenario: "calm".to_owned(),
            invariant: broken.first().copied().unwrap_or_default().to_owned(),
            fingerprint: String::new(),
            broken: broken.iter().map(|&name| name.to_owned()).collect(),
            why: String::new(),
            choices_found: 0,
            choices: 0,
            shrink_tries: 0,
            smallest: true,
            capsule: None,
            headline: "PEERS broken".to_owned(),
            story: Vec::new(),
        };
        Outcome::Explored(Box::new(Summary {
            seed: 1,
            strategy: String::new(),
            world: String::new(),
            nodes: 3,
            component: String::new(),
            component_sha256: String::new(),
            runs: 4,
            distinct_schedules: 4,
            distinct_schedules_exact: true,
            draws: 0,
            virtual_seconds: 0.0,
            pace: Pace { seconds: 0.5, cpu_seconds: None, memory_bytes_max: None, runs_per_second: 8.0 },
            scenarios: Vec::new(),
            faults: Vec::new(),
            marks: Vec::new(),
            invariants: Vec::new(),
            violation: (!broken.is_empty()).then_some(violation),
        }))
    }

    #[test]
    fn a_bug_is_caught_only_by_an_invariant_that_was_named() {
        let named = ["PEERS".to_owned(), "MONO".to_owned()];
        let on = |broken: &[&str]| Verdict::on(Subject::Bug(&named), &explored(broken));
        assert_eq!(on(&["TRUTH", "MONO"]), Verdict::Caught);
        assert_eq!(on(&["TRUTH"]), Verdict::CaughtByAnother);
        assert_eq!(on(&[]), Verdict::Missed);
        assert_eq!(Verdict::on(Subject::Bug(&named), &Outcome::Hung), Verdict::Missed);
    }

    #[test]
    fn sound_code_may_break_nothing_and_must_end() {
        let on = |outcome: &Outcome| Verdict::on(Subject::Sound, outcome);
        assert_eq!(on(&explored(&[])), Verdict::Sound);
        assert_eq!(on(&explored(&["TAIL"])), Verdict::Unsound);
        assert_eq!(on(&Outcome::Hung), Verdict::Unsound);
    }

    #[test]
    fn real_time_stands_in_for_processor_time_that_is_not_known() {
        assert_eq!(Line::new("R01", Subject::Sound, &[(Seed(1), explored(&[]))]).cpu_seconds, 0.5);
    }

    #[test]
    fn the_worst_of_the_seeds_is_what_an_exhibit_gets() {
        let named = ["PEERS".to_owned()];
        let line = |outcomes: Vec<Outcome>| {
            let seeds = (7..).map(Seed);
            Line::new("R01", Subject::Bug(&named), &seeds.zip(outcomes).collect::<Vec<_>>())
        };
        let (caught, other, missed) = (explored(&["PEERS"]), explored(&["TRUTH"]), explored(&[]));
        let of = |line: Line| {
            let missed: Vec<_> = line.seeds_missed.iter().map(|seed| seed.0).collect();
            (line.verdict, missed, line.broken.join(" "), line.story)
        };
        let told = |story: &str| story.to_owned();
        let both = of(line(vec![caught.clone(), caught.clone()]));
        assert_eq!(both, (Verdict::Caught, vec![], told("PEERS"), told("PEERS broken")));
        let another = of(line(vec![caught.clone(), other]));
        assert_eq!(another, (Verdict::CaughtByAnother, vec![8], told("PEERS TRUTH"), told("seed 8: PEERS broken")));
        let none = of(line(vec![caught, missed.clone()]));
        assert_eq!(none, (Verdict::Missed, vec![8], told("PEERS"), told("seed 8: nothing breaks")));
        assert_eq!(of(line(vec![missed])), (Verdict::Missed, vec![7], String::new(), String::new()));
        let broken = of(line(vec![Outcome::DoesNotBuild("x".to_owned())]));
        assert_eq!(broken, (Verdict::DoesNotBuild, vec![7], String::new(), told("x")));
    }
}
