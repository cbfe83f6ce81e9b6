//! Scenarios: stories that a run tells.

use std::{future::Future, pin::Pin};

use super::{
    choice::{Choices, DecisionLog, Kind, Label},
    cluster::Cluster,
};

/// A story: an async function over a cluster, which ends the run when it returns.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name on the command line and in capsules.
    pub name: &'static str,
    /// What it simulates, in one sentence.
    pub summary: &'static str,
    /// How many nodes the cluster may have in place of as many as were asked for: each run draws from both.
    pub other_sizes: &'static [u8],
    /// Tells the story.
    pub tell: fn(Cluster) -> Pin<Box<dyn Future<Output = ()>>>,
}

impl Scenario {
    /// How many nodes a run has for which `asked` were asked for: its first draw, where the story leaves that open.
    pub(crate) fn draw_size(&self, asked: u8, log: &mut DecisionLog) -> u8 {
        self.size(asked, log.draw(Kind::Nodes, None, 1 + self.other_sizes.len() as u32))
    }

    /// How many nodes a run has that made these `choices`.
    pub fn size_in(&self, asked: u8, choices: &Choices) -> u8 {
        let label = Label { kind: Kind::Nodes, node: None, occurrence: 0 };
        self.size(asked, choices.get(&label).copied().unwrap_or(0))
    }

    fn size(&self, asked: u8, value: u32) -> u8 {
        let other = (value as usize).checked_sub(1).and_then(|index| self.other_sizes.get(index));
        other.copied().unwrap_or(asked)
    }
}
