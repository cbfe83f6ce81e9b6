//! A run's temperament: which kinds of choice it uses, how often, and how far.
//!
//! Runs in which everything happens at once hide the bugs that need one thing to happen and the others not to. So each
//! run draws a profile first: how many kinds are on at all, how often each strikes, whether it strikes all nodes alike,
//! and how large its values get. This is swarm testing (Groce et al., *Swarm testing*, ISSTA 2012).

use super::seed::{Odds, Roll, Seed, odds};
use crate::{
    check::NodeIndex,
    sim::choice::{Effect, Kind, Label},
};

/// How often a kind of choice is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frequency {
    Off,
    /// A few times in a row, and never else.
    Once,
    Rare,
    Often,
    Always,
}

impl Frequency {
    fn odds(self) -> Odds {
        match self {
            Self::Off | Self::Once => odds(0, 1),
            Self::Rare => odds(1, 24),
            Self::Often => odds(1, 3),
            Self::Always => odds(1, 1),
        }
    }

    /// The frequency of a kind that is on with `density`. Failures are never more than rare, or no run would succeed, and in half
    /// of the runs even rarer: what is done hundreds of times in a run would fail again and again. But those of what is done a
    /// few times only would hardly ever happen then. What a node is like for a life harms nobody by
    /// itself, and is the most frequent.
    fn draw(roll: Roll, effect: Effect, density: Odds) -> Self {
        let on = density.hits;
        let off = density.of - on;
        match effect {
            Effect::Failure => roll.pick(&[(4 * off + 2 * on, Self::Off), (on, Self::Rare), (on, Self::Once)]),
            Effect::Refusal => roll.pick(&[(4 * off + 4 * on, Self::Off), (2 * on, Self::Often), (on, Self::Always)]),
            Effect::Condition => roll.pick(&[(2 * off, Self::Off), (on, Self::Often), (on, Self::Always)]),
            Effect::Death => roll.pick(&[(2 * off + 2 * on, Self::Off), (on, Self::Often)]),
            _ => {
                roll.pick(&[(8 * off, Self::Off), (2 * on, Self::Rare), (4 * on, Self::Often), (2 * on, Self::Always)])
            }
        }
    }
}

/// Out of how many kinds how many are on.
const DENSITIES: [(u32, Odds); 4] = [(1, odds(1, 8)), (1, odds(1, 4)), (3, odds(1, 2)), (3, odds(3, 4))];

/// Of those after which a deploy fails fewer are, and in some runs hardly any: where there are many kinds of failure, one of
/// them always strikes, and bugs of deploys that succeed are never met.
const HARDSHIPS: [(u32, Odds); 4] = [(3, odds(1, 16)), (2, odds(1, 4)), (2, odds(1, 2)), (2, odds(3, 4))];

/// How many failures of one kind come in a row, where they come so: a device that is full stays full for a while.
const BURSTS: [(u32, u32); 4] = [(3, 0), (1, 2), (1, 4), (1, 8)];

/// Before which of its occurrences a burst begins: some operations are done a few times in a run, others hundreds of times.
const BURST_BEGINS_BELOW: [(u32, u32); 3] = [(1, 12), (2, 48), (1, 192)];

/// Out of how many runs there is what comes once a node, whatever a kind's frequency is: in the others haste stays haste.
const ODD_RUNS: Odds = odds(1, 2);

/// Out of how many such runs a kind of delay stalls once: a long wait amid haste.
const STALLS: Odds = odds(1, 5);

/// Below which of its occurrences a stall comes: some kinds are drawn a few times in a run, others a hundred times.
const STALLS_BELOW: [(u32, u32); 3] = [(1, 4), (1, 16), (1, 64)];

/// Of the largest delays, how many are a stall's.
const STALL_LENGTHS: u32 = 3;

/// Out of how many such runs what is done a few times fails once, and before which occurrence: one failure tells more than many.
/// They are as frequent as other failures.
const LONE_REFUSALS: Odds = odds(1, 2);
const LONE_REFUSALS_BELOW: [(u32, u32); 2] = [(1, 2), (1, 5)];

/// How far delays go, in fifths of their range: races live among the small ones, time-outs among the large.
const REACHES: [(u32, u32); 5] = [(2, 1), (4, 2), (5, 3), (3, 4), (1, 5)];

/// Workload choices are 0 in so many draws, so that the plain story is told too.
const PLAIN_WORKLOAD: Odds = odds(1, 3);

/// What one run does with each kind of choice.
pub struct Profile {
    kinds: Vec<KindProfile>,
}

impl Profile {
    /// The profile that `seed` stands for.
    pub fn new(seed: Seed) -> Self {
        let density = seed.child("density").roll().pick(&DENSITIES);
        let hardship = seed.child("hardship").roll().pick(&HARDSHIPS);
        let density_of = |kind: Kind| match kind.effect() {
            Effect::Failure | Effect::Refusal | Effect::Death => hardship,
            _ => density,
        };
        Self { kinds: Kind::ALL.iter().map(|&kind| KindProfile::new(kind, seed, density_of(kind))).collect() }
    }

    /// The value of a choice, below `bound`.
    pub fn value(&self, label: Label, bound: u32) -> u32 {
        self.kinds[label.kind as usize].value(label, bound)
    }
}

/// Whom a kind strikes.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// All nodes alike.
    Even,
    /// Each node by a frequency of its own: one may be slow, and the others not.
    PerNode,
}

struct KindProfile {
    seed: Seed,
    effect: Effect,
    density: Odds,
    frequency: Frequency,
    spread: Spread,
    reach_fifths: u32,
    /// Of which length its failures come in bursts; 0 when they come one by one.
    burst: u32,
    /// Before which occurrence a burst begins.
    burst_below: u32,
    /// Before which occurrence it stalls or fails once a node, whatever else it does; 0 when it does not.
    once_below: u32,
}

impl KindProfile {
    fn new(kind: Kind, run: Seed, density: Odds) -> Self {
        let seed = run.child(kind.as_str());
        Self {
            seed,
            effect: kind.effect(),
            density,
            frequency: Frequency::draw(seed.child("frequency").roll(), kind.effect(), density),
            spread: seed.child("spread").roll().pick(&[(1, Spread::Even), (1, Spread::PerNode)]),
            reach_fifths: seed.child("reach").roll().pick(&REACHES),
            burst: seed.child("burst").roll().pick(&BURSTS),
            burst_below: seed.child("burst-below").roll().pick(&BURST_BEGINS_BELOW),
            once_below: match kind.effect() {
                _ if !run.child("once").roll().hits(ODD_RUNS) => 0,
                Effect::Delay if seed.child("once").roll().hits(STALLS) => {
                    seed.child("once-below").roll().pick(&STALLS_BELOW)
                }
                Effect::Refusal
                    if seed.child("once").roll().hits(LONE_REFUSALS)
                        && seed.child("once-hard").roll().hits(density) =>
                {
                    seed.child("once-below").roll().pick(&LONE_REFUSALS_BELOW)
                }
                _ => 0,
            },
        }
    }

    fn value(&self, label: Label, bound: u32) -> u32 {
        let roll = self.seed.roll_label(label);
        match self.effect {
            Effect::Workload if roll.hits(PLAIN_WORKLOAD) => 0,
            Effect::Workload | Effect::Order => roll.below(bound),
            Effect::Delay if self.is_the_one(label) => bound - 1 - roll.below(STALL_LENGTHS.min(bound - 1)),
            Effect::Refusal if self.is_the_one(label) => 1 + roll.below(bound - 1),
            Effect::Delay | Effect::Cut | Effect::Failure | Effect::Refusal | Effect::Condition | Effect::Death => {
                let strikes = roll.hits(self.frequency_on(label.node).odds()) || self.is_in_burst(label);
                if strikes { 1 + roll.below(self.largest(bound)) } else { 0 }
            }
        }
    }

    /// Is this one of the failures in a row that this run has on the node, if it has any?
    fn is_in_burst(&self, label: Label) -> bool {
        if self.effect != Effect::Failure {
            return false;
        }
        let length = match self.frequency_on(label.node) {
            Frequency::Off => 0,
            Frequency::Once => self.burst.max(1),
            _ => self.burst,
        };
        if length == 0 {
            return false;
        }
        let begin = self.seed.child("burst-at").nth(label.node.map_or(0, |node| u64::from(node.0))).roll();
        let begin = begin.below(self.burst_below);
        (begin..begin + length).contains(&label.occurrence)
    }

    /// Is this the one long wait, or the one failure, of this run on the node, if it has one?
    fn is_the_one(&self, label: Label) -> bool {
        if self.once_below == 0 {
            return false;
        }
        let at = self.seed.child("once-at").nth(label.node.map_or(0, |node| u64::from(node.0))).roll();
        at.below(self.once_below) == label.occurrence
    }

    fn frequency_on(&self, node: Option<NodeIndex>) -> Frequency {
        match (self.spread, node) {
            (Spread::PerNode, Some(node)) => {
                let roll = self.seed.child("node").nth(u64::from(node.0)).roll();
                Frequency::draw(roll, self.effect, self.density)
            }
            _ => self.frequency,
        }
    }

    /// The largest value in this run, at least 1 and below `bound`.
    fn largest(&self, bound: u32) -> u32 {
        match self.effect {
            Effect::Delay => ((bound - 1) * self.reach_fifths).div_ceil(5),
            _ => bound - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::choice::DELAY_BOUND;

    fn label(kind: Kind, node: u8, occurrence: u32) -> Label {
        Label { kind, node: Some(NodeIndex(node)), occurrence }
    }

    fn values(run: u64, kind: Kind, bound: u32) -> Vec<u32> {
        let profile = Profile::new(Seed(7).nth(run));
        (0..60).map(|occurrence| profile.value(label(kind, 0, occurrence), bound)).collect()
    }

    #[test]
    fn values_stay_below_their_bound() {
        for run in 0..200 {
            for &kind in Kind::ALL {
                for bound in [2, 3, DELAY_BOUND, 64] {
                    assert!(values(run, kind, bound).iter().all(|&value| value < bound));
                }
            }
        }
    }

    #[test]
    fn a_kind_is_off_in_some_runs_and_busy_in_others() {
        let busy = |run| values(run, Kind::PutCommit, DELAY_BOUND).iter().filter(|&&value| value > 0).count();
        let runs: Vec<_> = (0..200).map(busy).collect();
        assert!(runs.iter().filter(|&&count| count == 0).count() > 60);
        assert!(runs.iter().filter(|&&count| (5..30).contains(&count)).count() > 10);
        assert!(runs.contains(&60));
    }

    #[test]
    fn failures_are_never_more_than_rare() {
        let failures = |run| values(run, Kind::PutRefused, 2).iter().sum::<u32>();
        assert!((0..300).all(|run| failures(run) < 15));
        assert!((0..300).any(|run| failures(run) > 0));
    }

    #[test]
    fn a_node_is_unlike_the_others_in_some_runs_only() {
        let wrong = |run| values(run, Kind::ClockSkew, 4).iter().filter(|&&value| value > 0).count();
        let runs: Vec<_> = (0..200).map(wrong).collect();
        assert!(runs.iter().filter(|&&count| count == 0).count() > 50);
        assert!(runs.iter().filter(|&&count| count > 0).count() > 50);
    }

    #[test]
    fn failures_come_in_a_row_in_some_runs() {
        let in_a_row = |run| {
            let values = values(run, Kind::BlobFails, 2);
            values.split(|&value| value == 0).map(<[u32]>::len).max().unwrap_or(0)
        };
        let longest: Vec<_> = (0..400).map(in_a_row).collect();
        assert!([0, 1, 4, 8].iter().all(|length| longest.contains(length)));
        assert!(longest.iter().filter(|&&length| length >= 8).count() < 40);
    }

    #[test]
    fn a_delay_stalls_once_amid_haste_in_some_runs() {
        let long = DELAY_BOUND - STALL_LENGTHS;
        let stalls_once = |run| {
            let values = values(run, Kind::RowsDelay, DELAY_BOUND);
            values.iter().filter(|&&value| value > 0).eq(values.iter().filter(|&&value| value >= long).take(1))
                && values.iter().any(|&value| value > 0)
        };
        let count = (0..1_000).filter(|&run| stalls_once(run)).count();
        assert!((10..100).contains(&count), "{count} of 1,000 runs");
    }

    #[test]
    fn a_third_of_the_workload_is_plain_and_the_rest_even() {
        let all: Vec<_> = (0..200).flat_map(|run| values(run, Kind::Workload, 4)).collect();
        let share = |value| all.iter().filter(|&&drawn| drawn == value).count() * 100 / all.len();
        assert!((45..55).contains(&share(0)), "a third, and a quarter of the rest: {}", share(0));
        assert!((1..4).all(|value| (14..20).contains(&share(value))));
    }

    #[test]
    fn one_node_may_be_slow_while_the_others_are_not() {
        let slow = |profile: &Profile, node| {
            (0..60).all(|occurrence| profile.value(label(Kind::Disk, node, occurrence), DELAY_BOUND) > 0)
        };
        assert!((0..400).any(|run| {
            let profile = Profile::new(Seed(3).nth(run));
            slow(&profile, 1) && !slow(&profile, 0) && !slow(&profile, 2)
        }));
    }
}
