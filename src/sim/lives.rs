//! Which nodes are alive, and when the next one dies.
//!
//! The design claims to survive the death of any node at any step of its life: what its devices had taken stays, everything
//! else is gone. A step is a draw, and so every call of a device is one. A life's length is drawn when it begins, so that a
//! death is a choice like any other: one to three lines of a capsule.
//!
//! Nor does it claim that a connection lasts: from some step on the packets between a node and another may vanish for a
//! while, one way or both. Nothing is sent again, so the connections that lost some are silent from then on (half open).
//!
//! Nor that a node runs on: it may be stopped as a whole (its process is, or the machine under it), and go on a minute later
//! where it was. Meanwhile its sockets take what comes, its children run, and all its timers fire late, together.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use crate::{
    check::{Death, NodeIndex},
    env::Pulse,
};

/// Carries out what befalls nodes.
pub trait Fates {
    /// A node has died, in this manner.
    fn die(&self, node: NodeIndex, death: Death);
    /// It begins to lose packets.
    fn lose_packets(&self, node: NodeIndex);
    /// It is paused, and has to be resumed.
    fn pause(&self, node: NodeIndex);
}

/// All lives of a run.
pub struct Lives {
    nodes: Vec<Life>,
    healed: Cell<bool>,
    heals: Pulse,
    fates: RefCell<Option<Rc<dyn Fates>>>,
}

/// What happens at a step of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It ends.
    Death,
    /// Packets are lost from now on.
    Partition,
    /// Nothing of it runs from the end of this step on.
    Pause,
    /// Its clock shows another time from now on.
    ClockJump {
        /// How far it is from the true time then, milliseconds.
        to_ms: i64,
    },
}

#[derive(Default)]
struct Life {
    over: Cell<bool>,
    paused: Cell<bool>,
    /// What happens after so many steps more.
    fuses: RefCell<Vec<(Turn, u32)>>,
    ended_before: Cell<u16>,
}

impl Lives {
    /// All alive.
    pub fn new(nodes: u8) -> Self {
        Self {
            nodes: (0..nodes).map(|_| Life::default()).collect(),
            healed: Cell::new(false),
            heals: Pulse::default(),
            fates: RefCell::default(),
        }
    }

    /// Lets `fates` carry out what befalls nodes.
    pub fn watch(&self, fates: impl Fates + 'static) {
        *self.fates.borrow_mut() = Some(Rc::new(fates));
    }

    /// Is the node alive?
    pub fn is_alive(&self, node: NodeIndex) -> bool {
        !self.life(node).over.get()
    }

    /// Is it paused? Its tasks wait for as long as it is. A stranger never is.
    pub fn is_paused(&self, node: NodeIndex) -> bool {
        self.nodes.get(usize::from(node.0)).is_some_and(|life| life.paused.get())
    }

    /// Is any?
    pub fn any_paused(&self) -> bool {
        self.nodes.iter().any(|life| life.paused.get())
    }

    /// How many lives of the node have ended.
    pub fn ended(&self, node: NodeIndex) -> u16 {
        self.life(node).ended_before.get()
    }

    /// Has everything healed?
    pub fn healed(&self) -> bool {
        self.healed.get()
    }

    /// Resolves when everything has healed.
    pub async fn until_healed(&self) {
        let mut heals = self.heals.subscribe();
        if !self.healed() {
            heals.changed().await;
        }
    }

    fn life(&self, node: NodeIndex) -> &Life {
        &self.nodes[usize::from(node.0)]
    }

    pub(super) fn begin(&self, node: NodeIndex) {
        self.life(node).over.set(false);
        self.resume(node);
        self.life(node).fuses.borrow_mut().clear();
    }

    pub(super) fn light_fuse(&self, node: NodeIndex, turn: Turn, steps: u32) {
        self.life(node).fuses.borrow_mut().push((turn, steps));
    }

    /// A step is done; what happens at it?
    pub(super) fn step(&self, node: NodeIndex) -> Option<Turn> {
        let mut fuses = self.life(node).fuses.borrow_mut();
        let burnt = fuses.iter_mut().position(|(_, steps)| {
            *steps -= 1;
            *steps == 0
        })?;
        Some(fuses.remove(burnt).0)
    }

    /// Ends a life; false when it was over.
    pub(super) fn end(&self, node: NodeIndex) -> bool {
        let life = self.life(node);
        life.fuses.borrow_mut().clear();
        let ends = !life.over.replace(true);
        life.paused.set(false);
        life.ended_before.set(life.ended_before.get() + u16::from(ends));
        ends
    }

    pub(super) fn lose_packets(&self, node: NodeIndex) {
        if let Some(fates) = self.fates() {
            fates.lose_packets(node);
        }
    }

    /// Pauses a node that can be resumed.
    pub(super) fn pause(&self, node: NodeIndex) {
        if let Some(fates) = self.fates() {
            self.life(node).paused.set(true);
            fates.pause(node);
        }
    }

    pub(super) fn resume(&self, node: NodeIndex) {
        self.life(node).paused.set(false);
    }

    pub(super) fn tell(&self, node: NodeIndex, death: Death) {
        if let Some(fates) = self.fates() {
            fates.die(node, death);
        }
    }

    fn fates(&self) -> Option<Rc<dyn Fates>> {
        self.fates.borrow().clone()
    }

    /// Heals; false when that had happened.
    pub(super) fn heal(&self) -> bool {
        self.nodes.iter().for_each(|life| life.fuses.borrow_mut().clear());
        let heals = !self.healed.replace(true);
        self.heals.beat();
        heals
    }
}
