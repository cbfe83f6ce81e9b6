//! Who is in the cluster: as the operator has it, and as each node knows it.
//!
//! The design claims to survive a membership that changes at any time, and that a node knows of it later than others: each
//! node's news is a delay of its own, and what tells a node that it has left may take longer. Until it comes, the node knows
//! the members that it knew before.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc, time::Duration};

use tokio::time::sleep;

use super::{choice::Kind, cluster::Cluster, world::World};
use crate::{
    check::{Event, NodeIndex},
    env::{Beats, Pulse},
};

/// All views of the membership.
pub struct Membership {
    members: RefCell<BTreeSet<NodeIndex>>,
    views: Vec<View>,
}

/// What one node knows.
struct View {
    members: RefCell<BTreeSet<NodeIndex>>,
    changes: Pulse,
}

impl Membership {
    /// All nodes are members, and know it.
    pub fn new(nodes: u8) -> Self {
        let all: BTreeSet<_> = (0..nodes).map(NodeIndex).collect();
        let view = |_| View { members: RefCell::new(all.clone()), changes: Pulse::default() };
        Self { views: (0..nodes).map(view).collect(), members: RefCell::new(all) }
    }

    /// The members as `node` knows them.
    pub fn known_to(&self, node: NodeIndex) -> Vec<NodeIndex> {
        self.view(node).members.borrow().iter().copied().collect()
    }

    /// Sees every change of what `node` knows.
    pub fn watch(&self, node: NodeIndex) -> Beats {
        self.view(node).changes.subscribe()
    }

    /// Is `node` a member?
    pub fn includes(&self, node: NodeIndex) -> bool {
        self.members.borrow().contains(&node)
    }

    /// Does every node know how things are?
    pub fn is_known_to_all(&self) -> bool {
        (0..self.views.len() as u8).map(NodeIndex).all(|node| *self.view(node).members.borrow() == self.seen_from(node))
    }

    fn view(&self, node: NodeIndex) -> &View {
        &self.views[usize::from(node.0)]
    }

    /// How things are for `node`: one that is no member is a cluster of its own.
    fn seen_from(&self, node: NodeIndex) -> BTreeSet<NodeIndex> {
        if self.includes(node) { self.members.borrow().clone() } else { BTreeSet::from([node]) }
    }
}

impl World {
    /// `node` comes to know how things are now.
    fn tell_members(&self, node: NodeIndex) {
        let membership = self.membership();
        let now = membership.seen_from(node);
        let before = membership.view(node).members.replace(now.clone());
        if now != before {
            self.record(Some(node), Event::MembersKnown(now.into_iter().collect()));
            membership.view(node).changes.beat();
        }
    }
}

impl Cluster {
    /// The story begins while `node` is not a member yet, and nothing has replicated to it.
    pub fn begin_without(&self, node: NodeIndex) {
        self.change_members(|members| members.remove(&node));
        self.every_node().for_each(|other| self.world().tell_members(other));
    }

    /// `node` becomes a member; each node knows of it as late as the choices say.
    pub fn join(&self, node: NodeIndex) {
        self.change_members(|members| members.insert(node));
        self.every_node().for_each(|other| self.tell_in_time(other, self.members_late(other)));
    }

    /// `node` is no member any more; each node knows of it as late as the choices say.
    pub fn leave(&self, node: NodeIndex) {
        self.change_members(|members| members.remove(&node));
        for other in self.every_node() {
            let mut late = self.members_late(other);
            if other == node {
                late = late.max(self.world().draw_delay(other, Kind::LeaverLate).unwrap_or_default());
            }
            self.tell_in_time(other, late);
        }
    }

    fn every_node(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.nodes()).map(NodeIndex)
    }

    fn change_members(&self, change: impl FnOnce(&mut BTreeSet<NodeIndex>) -> bool) {
        let members = &self.world().membership().members;
        change(&mut members.borrow_mut());
        let now = members.borrow().iter().copied().collect();
        self.world().record(None, Event::MembersChanged(now));
    }

    fn members_late(&self, node: NodeIndex) -> Duration {
        self.world().draw_delay(node, Kind::MembersLate).unwrap_or_default()
    }

    /// `node` comes to know how things are then, so much later.
    fn tell_in_time(&self, node: NodeIndex, late: Duration) {
        if late.is_zero() {
            return self.world().tell_members(node);
        }
        let world = Rc::clone(self.world());
        self.apart(format!("news of the membership for {node}"), async move {
            sleep(late).await;
            world.tell_members(node);
        });
    }
}
