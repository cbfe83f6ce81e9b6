//! Who is in the cluster, who knows it, and whom a deploy turned to.

use super::{At, Deploy, Facts};
use crate::{
    check::{Event, NodeIndex},
    env::Port,
};

impl Facts<'_> {
    /// The members as the origin of a deploy read them at its dispatch (before `at`), itself excluded. A dispatch reads them
    /// and connects in one instant. Others of the same node read them too, and they may change in that instant: of several
    /// readings that which was asked for counts. Without a dispatch any reading since the request may be the one, and without
    /// a reading it would have been what the origin knows.
    pub fn peers_expected(&self, deploy: &Deploy, at: At) -> Vec<NodeIndex> {
        let asked = self.peers_asked(deploy, at);
        let built = self.built(deploy, at).unwrap_or(at);
        let dispatched = self.between(built, at).find(|(_, entry)| {
            entry.node == Some(deploy.origin) && matches!(entry.event, Event::Connecting { port: Port::Operations, .. })
        });
        let (end, instant) = dispatched.map_or((at, None), |(at, entry)| (at, Some(entry.at_ms)));
        let read = self.between(deploy.requested, end).filter_map(|(_, entry)| match &entry.event {
            Event::MembersRead(members) if entry.node == Some(deploy.origin) => Some((entry.at_ms, members)),
            _ => None,
        });
        let others = |members: &Vec<NodeIndex>| -> Vec<_> {
            members.iter().copied().filter(|member| *member != deploy.origin).collect()
        };
        let readings: Vec<_> = read.map(|(at_ms, members)| (at_ms, others(members))).collect();
        let fits = |(at_ms, peers): &&(u64, Vec<NodeIndex>)| {
            instant.is_none_or(|instant| instant == *at_ms) && *peers == asked
        };
        let reading = readings.iter().find(fits).or(readings.last());
        reading.map_or_else(|| others(&self.members_known(deploy.origin, at)), |(_, peers)| peers.clone())
    }

    /// The members as a node knows them at a place.
    fn members_known(&self, node: NodeIndex, at: At) -> Vec<NodeIndex> {
        let mut news = self.between(0, at).rev().filter_map(|(_, entry)| match &entry.event {
            Event::MembersKnown(members) if entry.node == Some(node) => Some(members.clone()),
            _ => None,
        });
        news.next().unwrap_or_else(|| self.last.keys().copied().collect())
    }

    /// Who is in the cluster at a place, as the operator has it.
    pub fn is_member(&self, node: NodeIndex, at: At) -> bool {
        let mut changes = self.between(0, at).rev().filter_map(|(_, entry)| match &entry.event {
            Event::MembersChanged(members) => Some(members),
            _ => None,
        });
        changes.next().is_none_or(|members| members.contains(&node))
    }

    /// Must a row of `writer` become on `node` what it is there? Not once one of the two has left the cluster for good.
    pub fn is_shared(&self, writer: NodeIndex, node: NodeIndex) -> bool {
        writer == node || [writer, node].iter().all(|node| self.is_member(*node, self.end()))
    }

    /// Was there a moment between two places at which `node` knew that `other` is a member (or that it is not)?
    pub fn knew(&self, node: NodeIndex, other: NodeIndex, is_member: bool, from: At, to: At) -> bool {
        let news = self.on(node, 0, to);
        let news = news.filter_map(|(at, entry)| match &entry.event {
            Event::MembersKnown(members) => Some((at, members.contains(&other))),
            _ => None,
        });
        let (mut known, mut seen) = (true, false);
        for (at, now) in news {
            seen |= at >= from && known == is_member;
            known = now;
        }
        seen || known == is_member
    }

    /// Did the membership change between two places, for the operator or for a node?
    pub fn members_changed(&self, from: At, to: At) -> bool {
        self.between(from, to)
            .any(|(_, entry)| matches!(entry.event, Event::MembersChanged(_) | Event::MembersKnown(_)))
    }

    /// When the build of a deploy came to stay live on its origin, before `at`: until then it has nothing to ask of its
    /// peers. A deploy whose id nobody knows may have asked since its request.
    fn built(&self, deploy: &Deploy, at: At) -> Option<At> {
        let Some(id) = deploy.id else { return Some(deploy.requested) };
        let link = format!("components/.next-{id}-");
        let mut here = self.on(deploy.origin, deploy.requested, at);
        let (live, _) = here.find(|(_, entry)| match &entry.event {
            Event::Renamed { from, to, .. } => from.starts_with(&link) && to.starts_with("components/"),
            _ => false,
        })?;
        // A swap that the disk did not take to its end is undone, or is a failure all the same.
        let swap_failed = deploy.failure().is_some_and(|(_, failure)| failure["code"] == "swap_failed")
            && self.failed_between(deploy.origin, "disk-fails", live, at);
        (!swap_failed).then_some(live)
    }

    /// The peers that a deploy's origin turned to for operations before `at`. Other deploys of the same origin may have
    /// turned to the same ones.
    pub fn peers_asked(&self, deploy: &Deploy, at: At) -> Vec<NodeIndex> {
        let asked =
            self.between(self.built(deploy, at).unwrap_or(at), at).filter_map(|(_, entry)| match &entry.event {
                Event::Connecting { to, port: Port::Operations } if entry.node == Some(deploy.origin) => Some(*to),
                _ => None,
            });
        // A deploy that is for its origin alone asks nobody; another one beside it may. What reached a peer was asked.
        let reached = |peer: &NodeIndex| {
            self.operations.iter().any(|operation| Some(operation.id) == deploy.id && operation.node == *peer)
        };
        let mut asked: Vec<_> = asked.filter(|peer| deploy.asked.replicated || reached(peer)).collect();
        asked.sort();
        asked.dedup();
        asked
    }
}
