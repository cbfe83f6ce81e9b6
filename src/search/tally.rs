//! What is kept of runs: sums, whose size does not grow with the number of runs.

use std::time::Duration;

use super::distinct::Distinct;
use crate::{
    check::Violation,
    sim::{
        choice::{Choices, Kind},
        run::Report,
    },
};

/// A run that broke an invariant.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which run of the exploration.
    pub index: u64,
    /// Which of the setup's scenarios.
    pub scenario: usize,
    /// The choices that were not 0.
    pub choices: Choices,
    /// The first violation.
    pub violation: Violation,
    /// Every invariant that this run broke.
    pub broken: Vec<&'static str>,
}

/// What is kept of one run.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    scenario: usize,
    trace_hash: u64,
    draws: u64,
    virtual_time: Duration,
    /// Choices other than 0, one number for each kind.
    choices: Vec<u64>,
    /// How often each invariant was checked.
    checked: Vec<u64>,
    /// How often each mark was seen.
    marks: Vec<u64>,
    /// What it broke, if anything.
    pub finding: Option<Finding>,
}

impl Observation {
    /// What must be known of `report`.
    pub fn of(scenario: usize, report: &Report, finding: Option<Finding>) -> Self {
        let mut choices = vec![0; Kind::ALL.len()];
        report.choices.keys().for_each(|label| choices[label.kind as usize] += 1);
        Self {
            scenario,
            trace_hash: report.trace.hash128() as u64,
            draws: report.draws,
            virtual_time: report.virtual_time,
            choices,
            checked: report.judgements.iter().map(|judgement| judgement.checked).collect(),
            marks: report.marks.clone(),
            finding,
        }
    }
}

/// How often something came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// In all.
    pub times: u64,
    /// In so many runs.
    pub runs: u64,
}

impl Seen {
    fn add(&mut self, times: u64) {
        self.times += times;
        self.runs += u64::from(times > 0);
    }

    fn join(&mut self, other: Self) {
        self.times += other.times;
        self.runs += other.runs;
    }
}

/// The sum of many runs. Sums of parts can be joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs in all.
    pub runs: u64,
    /// Runs of each of the setup's scenarios.
    pub scenarios: Vec<u64>,
    /// Different traces.
    pub schedules: Distinct,
    /// Draws from the decision logs.
    pub draws: u64,
    /// Virtual time.
    pub virtual_time: Duration,
    /// Choices other than 0, for each of [`Kind::ALL`].
    pub choices: Vec<Seen>,
    /// Checks by each of the invariants, in their order.
    pub checked: Vec<Seen>,
    /// Of each of the marks, in their order.
    pub marks: Vec<Seen>,
}

impl Tally {
    /// Adds a run.
    pub fn add(&mut self, run: &Observation) {
        self.runs += 1;
        self.schedules.add(run.trace_hash);
        self.draws += run.draws;
        self.virtual_time += run.virtual_time;
        *slot(&mut self.scenarios, run.scenario) += 1;
        run.choices.iter().enumerate().for_each(|(index, &times)| slot(&mut self.choices, index).add(times));
        run.checked.iter().enumerate().for_each(|(index, &times)| slot(&mut self.checked, index).add(times));
        run.marks.iter().enumerate().for_each(|(index, &times)| slot(&mut self.marks, index).add(times));
    }

    /// Adds the runs that `other` has.
    pub fn join(&mut self, other: &Self) {
        self.runs += other.runs;
        self.schedules.join(&other.schedules);
        self.draws += other.draws;
        self.virtual_time += other.virtual_time;
        other.scenarios.iter().enumerate().for_each(|(index, runs)| *slot(&mut self.scenarios, index) += runs);
        other.choices.iter().enumerate().for_each(|(index, seen)| slot(&mut self.choices, index).join(*seen));
        other.checked.iter().enumerate().for_each(|(index, seen)| slot(&mut self.checked, index).join(*seen));
        other.marks.iter().enumerate().for_each(|(index, seen)| slot(&mut self.marks, index).join(*seen));
    }
}

/// The `index`-th of `list`, which grows as needed.
fn slot<T: Default + Clone>(list: &mut Vec<T>, index: usize) -> &mut T {
    if list.len() <= index {
        list.resize(index + 1, T::default());
    }
    &mut list[index]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A run that is not like any other number's.
    pub(in crate::search) fn observation(index: u64) -> Observation {
        Observation {
            scenario: (index % 3) as usize,
            trace_hash: index * 0x9e37_79b9,
            draws: 5,
            virtual_time: Duration::from_millis(7),
            choices: vec![index % 2, 1],
            checked: vec![0, index % 4],
            marks: vec![index % 2],
            finding: None,
        }
    }

    #[test]
    fn the_sum_of_parts_is_the_sum_of_all() {
        let sum = |range: std::ops::Range<u64>| {
            let mut tally = Tally::default();
            range.for_each(|index| tally.add(&observation(index)));
            tally
        };
        let mut parts = sum(0..1);
        parts.join(&sum(1..40));
        parts.join(&sum(40..100));
        assert_eq!(parts, sum(0..100));
        assert_eq!(parts.scenarios, [34, 33, 33]);
        assert_eq!(parts.choices, [Seen { times: 50, runs: 50 }, Seen { times: 100, runs: 100 }]);
        assert_eq!(parts.checked, [Seen::default(), Seen { times: 150, runs: 75 }]);
    }
}
