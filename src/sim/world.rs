//! What all nodes of one run share: the decision log, the trace and the virtual clock.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::pending,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    choice::{
        CUT_BOUND, Choices, DELAY_BOUND, DecisionLog, Kind, SKEW_BOUND, STEP_BOUND, cut, delay_ms, skew_ms, step,
    },
    lives::{Lives, Turn},
    membership::Membership,
    shelf::Shelf,
    tree::{LOSS_BOUND, Loss},
};
use crate::{
    check::{Death, Entry, Event, Fault, NodeIndex, Trace},
    env::{Kill, LocalFuture, NodeName},
    replication::scope::{self, Scope},
};

/// The wall clock at the start of each run: 2025-01-01.
const EPOCH_MS: u64 = 1_735_689_600_000;

/// The manners of death, in the order of the choice.
const DEATHS: [Death; 4] = [Death::Closed, Death::Silent, Death::PowerLoss, Death::Reset];

/// Runs the tasks of all nodes.
pub trait Spawner {
    /// Starts a task of `node`.
    fn start(&self, node: Option<NodeIndex>, name: String, future: LocalFuture) -> Box<dyn Kill>;
    /// Can nodes die and come back here?
    fn can_crash(&self) -> bool;
    /// Virtual time after which a run that has not ended is given up here.
    fn horizon(&self) -> Duration;
    /// Drops every task of `node` as it is now; its connections end as the death says.
    fn crash(&self, node: NodeIndex, death: Death);
    /// `node` can be heard again.
    fn revive(&self, node: NodeIndex);
    /// Packets of the first node to the second are lost from now on, or get through again.
    fn lose(&self, from: NodeIndex, to: NodeIndex, lost: bool);
}

/// One run's shared parts.
pub struct World {
    log: RefCell<DecisionLog>,
    trace: RefCell<Trace>,
    cluster: Vec<NodeName>,
    elapsed: Box<dyn Fn() -> Duration>,
    settings: RefCell<BTreeMap<String, Value>>,
    shelf: Shelf,
    lives: Lives,
    membership: Membership,
    /// How far each node's clock is from the true time, milliseconds.
    skews_ms: Vec<Cell<i64>>,
}

impl World {
    /// A world of `nodes` nodes named n1, n2, …, whose virtual clock is `elapsed`.
    pub fn new(nodes: u8, log: DecisionLog, elapsed: impl Fn() -> Duration + 'static) -> Rc<Self> {
        let cluster = (0..nodes).map(|index| NodeName::from(NodeIndex(index).to_string())).collect();
        Rc::new(Self {
            log: RefCell::new(log),
            trace: RefCell::default(),
            cluster,
            elapsed: Box::new(elapsed),
            settings: RefCell::default(),
            shelf: Shelf::default(),
            lives: Lives::new(nodes),
            membership: Membership::new(nodes),
            skews_ms: (0..nodes).map(|_| Cell::default()).collect(),
        })
    }

    /// The names of all nodes, in order.
    pub fn cluster(&self) -> &[NodeName] {
        &self.cluster
    }

    /// The place of a node in the cluster, by name.
    pub fn index_of(&self, name: &NodeName) -> Option<NodeIndex> {
        self.cluster.iter().position(|known| known == name).map(|index| NodeIndex(index as u8))
    }

    /// What the operator has set under `name`, the same on every node.
    pub fn setting(&self, name: &str) -> Option<Value> {
        self.settings.borrow().get(name).cloned()
    }

    /// Did the operator leave the rows out of replication?
    pub fn keeps_rows_apart(&self) -> bool {
        let setting = self.setting(scope::SETTING);
        Scope::parse(setting.as_ref()).is_ok_and(|replicated| !replicated.includes(scope::DATABASE))
    }

    /// The operator sets something, on every node.
    pub fn set(&self, name: &str, value: Value) {
        self.record(None, Event::Setting { name: name.to_owned(), value: value.clone() });
        self.settings.borrow_mut().insert(name.to_owned(), value);
    }

    /// Virtual time since the start of the run.
    pub fn elapsed(&self) -> Duration {
        (self.elapsed)()
    }

    /// What a node's wall clock shows now, epoch ms. The design claims to survive clocks that differ and that jump by
    /// hours, in either direction: which build is newer is told by stamps, how long something takes by a clock that only
    /// ticks. A jump of days may let retention think that an old deployment's peers are done; and lists are in the order of
    /// the times that rows show, which are their origins'.
    pub fn wall_clock_ms(&self, node: NodeIndex) -> u64 {
        let skew_ms = self.skews_ms[usize::from(node.0)].get();
        EPOCH_MS.saturating_add_signed(skew_ms) + self.elapsed().as_millis() as u64
    }

    fn set_clock(&self, node: NodeIndex, ms: i64) {
        if self.skews_ms[usize::from(node.0)].replace(ms) != ms {
            self.record(Some(node), Event::Fault(Fault::ClockSet { ms }));
        }
    }

    /// Adds an event to the trace, now.
    pub fn record(&self, node: Option<NodeIndex>, event: Event) {
        let at_ms = self.elapsed().as_millis() as u64;
        self.trace.borrow_mut().push(Entry { at_ms, node, event });
    }

    /// Draws a value below `bound`; 0 once everything has healed. Each draw of a node is a step of its life.
    pub fn draw(&self, node: Option<NodeIndex>, kind: Kind, bound: u32) -> u32 {
        if self.lives.healed() {
            return 0;
        }
        let value = self.log.borrow_mut().draw(kind, node, bound);
        match node.and_then(|node| Some((node, self.lives.step(node)?))) {
            Some((node, Turn::Death)) => self.crash(node),
            Some((node, Turn::Partition)) => self.lives.lose_packets(node),
            Some((node, Turn::Pause)) => self.lives.pause(node),
            Some((node, Turn::ClockJump { to_ms })) => self.set_clock(node, to_ms),
            None => {}
        }
        value
    }

    /// The bytes as the devices of all nodes keep them.
    pub fn keep(&self, bytes: Bytes) -> Bytes {
        self.shelf.keep(bytes)
    }

    /// Who is alive.
    pub fn lives(&self) -> &Lives {
        &self.lives
    }

    /// Who is in the cluster.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// A life of `node` begins: will it end early, and when?
    pub fn begin_life(&self, node: NodeIndex) {
        self.lives.begin(node);
        if !self.lives.healed() {
            self.set_clock(node, skew_ms(self.draw(Some(node), Kind::ClockSkew, SKEW_BOUND)));
        }
        let strikes = |kind, bound| Some(self.draw(Some(node), kind, bound)).filter(|value| *value > 0);
        let at = |kind| step(self.draw(Some(node), kind, STEP_BOUND));
        let death = strikes(Kind::Crash, 2).map(|_| (Turn::Death, at(Kind::CrashAt)));
        let partition = strikes(Kind::Partition, 2).map(|_| (Turn::Partition, at(Kind::PartitionAt)));
        let pause = strikes(Kind::Pause, 2).map(|_| (Turn::Pause, at(Kind::PauseAt)));
        let jump = strikes(Kind::ClockJump, SKEW_BOUND)
            .map(|value| (Turn::ClockJump { to_ms: skew_ms(value) }, at(Kind::ClockJumpAt)));
        for (turn, steps) in [jump, pause, partition, death].into_iter().flatten() {
            self.lives.light_fuse(node, turn, steps);
        }
    }

    /// `node` dies here and now, in the manner that the choice says.
    pub fn crash(&self, node: NodeIndex) {
        if self.lives.is_alive(node) {
            let death = DEATHS[self.draw(Some(node), Kind::CrashHow, DEATHS.len() as u32) as usize];
            self.crash_by(node, death);
        }
    }

    /// `node` dies here and now, in this manner.
    pub fn crash_by(&self, node: NodeIndex, death: Death) {
        if self.lives.end(node) {
            self.record(Some(node), Event::Crashed { death });
            self.lives.tell(node, death);
        }
    }

    /// What a loss of power takes on `node`.
    pub fn draw_loss(&self, node: NodeIndex) -> Loss {
        let [names, bytes] = [Kind::LostNames, Kind::LostBytes].map(|kind| self.draw(Some(node), kind, LOSS_BOUND));
        Loss { names, bytes }
    }

    /// From here on no fault is injected.
    pub fn heal(&self) {
        if self.lives.heal() {
            self.record(None, Event::Healed);
        }
    }

    /// Picks one of the `ready` tasks.
    pub fn pick_task(&self, ready: &[u32]) -> usize {
        self.log.borrow_mut().pick_task(ready)
    }

    /// How much longer something takes; recorded if it does.
    pub fn draw_delay(&self, node: NodeIndex, kind: Kind) -> Option<Duration> {
        let ms = delay_ms(self.draw(Some(node), kind, DELAY_BOUND));
        (ms > 0).then(|| {
            self.record(Some(node), Event::Fault(Fault::Delayed { what: kind.as_str().into(), ms }));
            Duration::from_millis(ms)
        })
    }

    /// Waits for as long as the choice says; returns without yielding when it says nothing.
    pub async fn delay(&self, node: NodeIndex, kind: Kind) {
        if let Some(delay) = self.draw_delay(node, kind) {
            sleep(delay).await;
        }
        self.or_gone(node).await;
    }

    /// Waits for ever if the node died at this very step: what was to come of it does not.
    async fn or_gone(&self, node: NodeIndex) {
        if !self.lives.is_alive(node) {
            pending().await
        }
    }

    /// How many of `length` bytes are handed on; recorded if not all.
    pub fn draw_cut(&self, node: NodeIndex, kind: Kind, length: usize) -> usize {
        if length < 2 {
            return length;
        }
        let part = cut(length, self.draw(Some(node), kind, CUT_BOUND));
        if part < length {
            let fault = Fault::Cut { what: kind.as_str().into(), bytes: part as u64, of: length as u64 };
            self.record(Some(node), Event::Fault(fault));
        }
        part
    }

    /// Does it fail? Recorded if it does; returns without yielding.
    pub async fn fails(&self, node: NodeIndex, kind: Kind) -> bool {
        let fails = self.draw(Some(node), kind, 2) == 1;
        self.or_gone(node).await;
        if fails {
            self.record(Some(node), Event::Fault(Fault::Failed { what: kind.as_str().into() }));
        }
        fails
    }

    /// The trace, the choices that were not 0, and the number of draws; leaves an empty world behind.
    pub fn take_parts(&self) -> (Trace, Choices, u64) {
        let log = self.log.replace(DecisionLog::new(Box::new(super::choice::Calm)));
        let (choices, draws) = log.into_parts();
        (self.trace.take(), choices, draws)
    }
}
