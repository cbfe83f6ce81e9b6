//! What the harness did to the cluster, and what it cost.

use super::{At, Facts};
use crate::{
    check::{Event, Fault, NodeIndex},
    env::{BlobId, Port},
};

impl Facts<'_> {
    /// Did the run come to where everything heals?
    pub fn has_healed(&self) -> bool {
        self.between(0, self.end()).any(|(_, entry)| matches!(entry.event, Event::Healed))
    }

    /// Was there a moment between two places at which a node took no operations, because it had died or was not up yet?
    pub fn was_away(&self, node: NodeIndex, from: At, to: At) -> bool {
        let here = self.on(node, 0, to);
        let changes = here.filter_map(|(at, entry)| match entry.event {
            Event::Crashed { .. } => Some((at, false)),
            Event::Listening { port: Port::Operations } => Some((at, true)),
            _ => None,
        });
        let (mut up, mut away) = (false, false);
        for (at, now) in changes {
            away |= at >= from && !up;
            up = now;
            away |= at >= from && !up;
        }
        away || !up
    }

    /// Were packets between two nodes lost at some time before `to`? What was open then is silent from then on.
    pub fn lost_packets(&self, one: NodeIndex, other: NodeIndex, to: At) -> bool {
        self.between(0, to).any(|(_, entry)| match entry.event {
            Event::Fault(Fault::Lost { to, .. }) => {
                [(one, other), (other, one)].contains(&(entry.node.unwrap_or(to), to))
            }
            _ => false,
        })
    }

    /// Did a connection for operations that a node had made to another break between two places?
    pub fn lost_operation(&self, from: NodeIndex, to: NodeIndex, since: At, until: At) -> bool {
        self.faults_on(from, since, until).any(|(_, entry)| {
            matches!(entry.event, Event::Fault(Fault::Reset { to: other, port: Port::Operations }) if other == to)
        })
    }

    /// Did something of this kind fail on a node between two places?
    pub fn failed_between(&self, node: NodeIndex, kind: &str, from: At, to: At) -> bool {
        let mut here = self.faults_on(node, from, to);
        here.any(|(_, entry)| matches!(&entry.event, Event::Fault(fault) if fault.failed() == Some(kind)))
    }

    /// Is this change of a blob what its device did to it? The fault stands right before it.
    pub fn is_damage(&self, at: At) -> bool {
        let before = at.checked_sub(1).map(|before| &self.entry(before).event);
        matches!(before, Some(Event::Fault(fault)) if fault.failed() == Some("blob-damaged"))
    }

    /// Did a node's device damage a blob that it had held whole, before `to`?
    pub fn was_damaged(&self, node: NodeIndex, blob: BlobId, to: At) -> bool {
        self.damages(to).any(|(where_, what)| where_ == node && what == blob)
    }

    /// Did any node's?
    pub fn was_damaged_somewhere(&self, blob: BlobId, to: At) -> bool {
        self.damages(to).any(|(_, what)| what == blob)
    }

    fn damages(&self, to: At) -> impl Iterator<Item = (NodeIndex, BlobId)> {
        let faults = self
            .between(0, to)
            .filter(|(_, entry)| matches!(&entry.event, Event::Fault(fault) if fault.failed() == Some("blob-damaged")));
        faults.filter_map(|(at, entry)| match self.trace.entries().get(at + 1)?.event {
            Event::Blob { id, .. } => Some((entry.node?, id)),
            _ => None,
        })
    }

    /// How far a node's clock was from the true time at a place, milliseconds.
    pub fn skew_ms(&self, node: NodeIndex, at: At) -> i64 {
        self.skews_ms(node, 0, at).last().unwrap_or(0)
    }

    /// The largest of what it was between two places.
    pub fn largest_skew_ms(&self, node: NodeIndex, from: At, to: At) -> i64 {
        self.skews_ms(node, from, to).fold(self.skew_ms(node, from), i64::max)
    }

    /// The least.
    pub fn least_skew_ms(&self, node: NodeIndex, from: At, to: At) -> i64 {
        self.skews_ms(node, from, to).fold(self.skew_ms(node, from), i64::min)
    }

    fn skews_ms(&self, node: NodeIndex, from: At, to: At) -> impl Iterator<Item = i64> {
        self.faults_on(node, from, to).filter_map(|(_, entry)| match &entry.event {
            Event::Fault(Fault::ClockSet { ms }) => Some(*ms),
            _ => None,
        })
    }

    /// For how long a node was paused between two places, milliseconds.
    pub fn paused_ms(&self, node: NodeIndex, from: At, to: At) -> u64 {
        let pauses = self.pauses(node, to).iter().filter_map(|at| match self.entry(*at).event {
            Event::Fault(Fault::Paused { ms }) => Some((*at, self.at_ms(*at) + ms)),
            _ => None,
        });
        let in_window = pauses.map(|(at, until_ms)| {
            let mut later = self.between(at, to);
            let ended = later.find(|(_, entry)| match entry.event {
                Event::Crashed { .. } => entry.node == Some(node),
                Event::Healed => true,
                _ => false,
            });
            let end = ended.map_or(to, |(ended, _)| ended).min(self.end() - 1);
            until_ms.min(self.at_ms(end)).saturating_sub(self.at_ms(at.max(from)))
        });
        in_window.sum()
    }

    /// How much longer faults of these kinds made things take on a node between two places, in all, its pauses included;
    /// milliseconds.
    pub fn delayed_ms(&self, node: NodeIndex, kinds: &[&str], from: At, to: At) -> u64 {
        let delays = self.faults_on(node, from, to);
        delays
            .filter_map(|(_, entry)| match &entry.event {
                Event::Fault(Fault::Delayed { what, ms }) if kinds.contains(&&**what) => Some(*ms),
                _ => None,
            })
            .sum::<u64>()
            + self.paused_ms(node, from, to)
    }
}
