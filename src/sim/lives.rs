//! Which nodes are alive, and when the next one dies.
//!
//! The design claims to survive the death of any node at any step of its life: what its devices had taken stays, everything
//! else is gone. A step is a draw, and so every call of a device is one. A life's length is drawn when it begins, so that a
//! death is a choice like any other: one to three lines of a capsule.
//!
//! Nor does it claim that a connection lasts: from some step on the packets between a node and another may vanish for a
//! while, one way or both. Nothing is sent again, so the connections that lost some are silent from then on (half open).

use std::cell::{Cell, RefCell};

use crate::{
    check::{Death, NodeIndex},
    env::Pulse,
};

type OnDeath = Box<dyn Fn(NodeIndex, Death)>;
type OnPartition = Box<dyn Fn(NodeIndex)>;

/// All lives of a run.
pub struct Lives {
    nodes: Vec<Life>,
    healed: Cell<bool>,
    heals: Pulse,
    on_death: RefCell<Option<OnDeath>>,
    on_partition: RefCell<Option<OnPartition>>,
}

/// What happens at a step of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It ends.
    Death,
    /// Packets are lost from now on.
    Partition,
    /// Its clock shows another time from now on.
    ClockJump {
        /// How far it is from the true time then, milliseconds.
        to_ms: i64,
    },
}

#[derive(Default)]
struct Life {
    over: Cell<bool>,
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
            on_death: RefCell::default(),
            on_partition: RefCell::default(),
        }
    }

    /// Calls `on_death` with each node that dies, and how; `on_partition` with each that begins to lose
    /// packets.
    pub fn watch(&self, on_death: impl Fn(NodeIndex, Death) + 'static, on_partition: impl Fn(NodeIndex) + 'static) {
        *self.on_death.borrow_mut() = Some(Box::new(on_death));
        *self.on_partition.borrow_mut() = Some(Box::new(on_partition));
    }

    /// Is the node alive?
    pub fn is_alive(&self, node: NodeIndex) -> bool {
        !self.life(node).over.get()
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
        life.ended_before.set(life.ended_before.get() + u16::from(ends));
        ends
    }

    pub(super) fn lose_packets(&self, node: NodeIndex) {
        if let Some(on_partition) = &*self.on_partition.borrow() {
            on_partition(node);
        }
    }

    pub(super) fn tell(&self, node: NodeIndex, death: Death) {
        if let Some(on_death) = &*self.on_death.borrow() {
            on_death(node, death);
        }
    }

    /// Heals; false when that had happened.
    pub(super) fn heal(&self) -> bool {
        self.nodes.iter().for_each(|life| life.fuses.borrow_mut().clear());
        let heals = !self.healed.replace(true);
        self.heals.beat();
        heals
    }
}
