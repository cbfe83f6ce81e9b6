//! What the harness did to the cluster, and what it cost.

use super::{At, Facts};
use crate::{
    check::{Event, Fault, NodeIndex},
    env::Port,
};

impl Facts<'_> {
    /// When a node first died between two places.
    pub fn first_crash(&self, node: NodeIndex, from: At, to: At) -> Option<At> {
        let mut here = self.between(from, to).filter(|(_, entry)| entry.node == Some(node));
        here.find(|(_, entry)| matches!(entry.event, Event::Crashed { .. })).map(|(at, _)| at)
    }

    /// Was there a moment between two places at which a node took no operations, because it had died or was not up yet?
    pub fn was_away(&self, node: NodeIndex, from: At, to: At) -> bool {
        let here = self.between(0, to).filter(|(_, entry)| entry.node == Some(node));
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

    /// Did something of this kind fail on a node between two places?
    pub fn failed_between(&self, node: NodeIndex, kind: &str, from: At, to: At) -> bool {
        let mut here = self.between(from, to).filter(|(_, entry)| entry.node == Some(node));
        here.any(|(_, entry)| matches!(&entry.event, Event::Fault(fault) if fault.failed() == Some(kind)))
    }

    /// How much longer faults of these kinds made things take on a node between two places, in all; milliseconds.
    pub fn delayed_ms(&self, node: NodeIndex, kinds: &[&str], from: At, to: At) -> u64 {
        let delays = self.between(from, to).filter(|(_, entry)| entry.node == Some(node));
        delays
            .filter_map(|(_, entry)| match &entry.event {
                Event::Fault(Fault::Delayed { what, ms }) if kinds.contains(&&**what) => Some(*ms),
                _ => None,
            })
            .sum()
    }
}
