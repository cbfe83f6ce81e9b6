//! Which nodes are alive, and when the next one dies.
//!
//! The design claims to survive the death of any node at any step of its life: what its devices had taken stays, everything
//! else is gone. A step is a draw, and so every call of a device is one. A life's length is drawn when it begins, so that a
//! death is a choice like any other: one to three lines of a capsule.

use std::cell::{Cell, RefCell};

use tokio::sync::watch;

use crate::check::NodeIndex;

type OnDeath = Box<dyn Fn(NodeIndex, bool)>;

/// All lives of a run.
pub struct Lives {
    nodes: Vec<Life>,
    healed: watch::Sender<bool>,
    on_death: RefCell<Option<OnDeath>>,
}

#[derive(Default)]
struct Life {
    over: Cell<bool>,
    steps_left: Cell<Option<u32>>,
    ended_before: Cell<u16>,
}

impl Lives {
    /// All alive.
    pub fn new(nodes: u8) -> Self {
        Self {
            nodes: (0..nodes).map(|_| Life::default()).collect(),
            healed: watch::Sender::new(false),
            on_death: RefCell::default(),
        }
    }

    /// Calls `on_death` with each node that dies, and whether it falls silent.
    pub fn watch(&self, on_death: impl Fn(NodeIndex, bool) + 'static) {
        *self.on_death.borrow_mut() = Some(Box::new(on_death));
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
        *self.healed.borrow()
    }

    /// Resolves when everything has healed.
    pub async fn until_healed(&self) {
        let mut healed = self.healed.subscribe();
        healed.wait_for(|healed| *healed).await.expect("the sender lives as long as this");
    }

    fn life(&self, node: NodeIndex) -> &Life {
        &self.nodes[usize::from(node.0)]
    }

    pub(super) fn begin(&self, node: NodeIndex) {
        self.life(node).over.set(false);
        self.life(node).steps_left.set(None);
    }

    pub(super) fn light_fuse(&self, node: NodeIndex, steps: u32) {
        self.life(node).steps_left.set(Some(steps));
    }

    /// A step is done; was it the last?
    pub(super) fn burns_down(&self, node: NodeIndex) -> bool {
        let life = self.life(node);
        let left = life.steps_left.get().map(|left| left - 1);
        life.steps_left.set(left.filter(|left| *left > 0));
        left == Some(0)
    }

    /// Ends a life; false when it was over.
    pub(super) fn end(&self, node: NodeIndex) -> bool {
        let life = self.life(node);
        life.steps_left.set(None);
        let ends = !life.over.replace(true);
        life.ended_before.set(life.ended_before.get() + u16::from(ends));
        ends
    }

    pub(super) fn tell(&self, node: NodeIndex, silent: bool) {
        if let Some(on_death) = &*self.on_death.borrow() {
            on_death(node, silent);
        }
    }

    /// Heals; false when that had happened.
    pub(super) fn heal(&self) -> bool {
        self.nodes.iter().for_each(|life| life.steps_left.set(None));
        !self.healed.send_replace(true)
    }
}
