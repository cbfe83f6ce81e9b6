//! Strategies: how a seed becomes the choices of a run.
//!
//! Every value is a hash of its label and the run's seed (see [`seed`](super::seed)), shaped by the run's
//! [`Profile`]; only the order of tasks differs between the strategies.

use std::{fmt, str::FromStr};

use super::{
    order::{Order, Priorities},
    profile::Profile,
    seed::Seed,
};
use crate::sim::choice::{Calm, Label, Source};

/// How a seed becomes choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Any ready task may run next, each as likely as the others.
    Uniform,
    /// Tasks run by random priorities with a few changes; some runs keep the order of arrival, some take a random one.
    Pct,
    /// Nothing happens and tasks run in order, whatever the seed: for what a run takes, not for what it finds.
    Calm,
}

impl Strategy {
    /// Every strategy, the default first.
    pub const ALL: [Self; 3] = [Self::Pct, Self::Uniform, Self::Calm];

    /// The choices that `seed` stands for.
    pub fn source(self, seed: Seed) -> Box<dyn Source> {
        if self == Self::Calm {
            return Box::new(Calm);
        }
        Box::new(Swarm { profile: Profile::new(seed), order: self.order(seed.child("order")) })
    }

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Pct => "pct",
            Self::Calm => "calm",
        }
    }

    fn order(self, seed: Seed) -> Order {
        match (self, seed.roll().below(8)) {
            (Self::Uniform, _) | (Self::Pct, 0) => Order::Uniform(seed),
            (Self::Pct, 1 | 2) | (Self::Calm, _) => Order::Oldest,
            (Self::Pct, _) => Order::Priority(Priorities::new(seed)),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|strategy| strategy.as_str() == text);
        known.ok_or_else(|| format!("there is no strategy `{text}`: choose pct, uniform or calm"))
    }
}

/// The choices of one run.
struct Swarm {
    profile: Profile,
    order: Order,
}

impl Source for Swarm {
    fn draw(&mut self, label: Label, bound: u32) -> u32 {
        self.profile.value(label, bound)
    }

    fn pick_task(&mut self, label: Label, ready: &[u32]) -> u32 {
        self.order.pick(label, ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::NodeIndex,
        sim::choice::{CUT_BOUND, Choices, DELAY_BOUND, DecisionLog, Kind},
    };

    fn draws(seed: u64, strategy: Strategy, more: u32) -> Choices {
        let mut log = DecisionLog::new(strategy.source(Seed(seed)));
        for _ in 0..50 {
            log.draw(Kind::PutCommit, Some(NodeIndex(0)), DELAY_BOUND);
            log.draw(Kind::ReadCut, Some(NodeIndex(1)), CUT_BOUND);
            log.pick_task(&[1, 2, 3]);
        }
        for _ in 0..more {
            log.draw(Kind::Disk, Some(NodeIndex(1)), DELAY_BOUND);
        }
        log.into_parts().0
    }

    #[test]
    fn the_same_seed_gives_the_same_choices() {
        for strategy in Strategy::ALL {
            assert_eq!(draws(3, strategy, 0), draws(3, strategy, 0));
            let differ = (0..20).any(|seed| draws(seed, strategy, 0) != draws(3, strategy, 0));
            assert_eq!(differ, strategy != Strategy::Calm);
        }
    }

    #[test]
    fn nothing_happens_in_a_calm_run() {
        assert!(draws(3, Strategy::Calm, 40).is_empty());
    }

    #[test]
    fn one_draw_more_disturbs_nothing_else() {
        for seed in 0..50 {
            let without = draws(seed, Strategy::Pct, 0);
            let mut with = draws(seed, Strategy::Pct, 40);
            with.retain(|label, _| label.kind != Kind::Disk);
            assert_eq!(without, with);
        }
    }

    #[test]
    fn a_strategy_is_known_by_its_name() {
        assert!(Strategy::ALL.iter().all(|strategy| strategy.as_str().parse() == Ok(*strategy)));
        assert!("Pct".parse::<Strategy>().is_err());
    }
}
