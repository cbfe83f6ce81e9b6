//! Simulated child processes: what they print and how they end is scripted by the scenario; how their output is cut and
//! how long it takes are choices.
//!
//! The design claims to survive output that is cut anywhere or cannot be read any more, a process that is slow, that fails, that
//! is ended by somebody else or that hangs, and a group that takes its time to be gone when it is killed, or of which nobody
//! knows whether it is. That it is gone some time is the machine's promise: nothing can ignore that signal.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, VecDeque},
    future::pending,
    io,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::{choice::Kind, disk::SimDisk, world::World};
use crate::{
    check::{Event, Fault, NodeIndex},
    env::{Child, Command, ExitStatus, Output, OutputStream, Processes},
};

/// What a process does, in order.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Writes, each after a pause.
    pub writes: Vec<(Duration, OutputStream, Bytes)>,
    /// The pause before its end.
    pub last_pause: Duration,
    /// How it ends; `None` for one that hangs until it is killed.
    pub exit: Option<ExitStatus>,
    /// Files that it leaves where it ran when it ends: names, and their bytes in pieces.
    pub files: Vec<(String, Vec<Bytes>)>,
}

impl Script {
    /// Half of its output comes, and none of its files.
    fn ends_otherwise(&mut self, exit: Option<ExitStatus>) {
        self.writes.truncate(self.writes.len().div_ceil(2));
        self.files.clear();
        self.exit = exit;
    }
}

/// What a node's processes do; the error is that of starting one.
pub type Scripts = dyn Fn(NodeIndex, &Command) -> io::Result<Script>;

/// A node's processes; clones are handles to the same ones.
#[derive(Clone)]
pub struct SimProcesses {
    world: Rc<World>,
    node: NodeIndex,
    disk: SimDisk,
    scripts: Rc<RefCell<Rc<Scripts>>>,
    /// May one hang that its script lets end?
    can_hang: bool,
    started: Rc<Cell<u32>>,
    running: Rc<RefCell<BTreeSet<u32>>>,
}

impl SimProcesses {
    /// None yet; what they will do is asked of `scripts`, which all nodes share.
    pub fn new(
        world: Rc<World>,
        node: NodeIndex,
        disk: SimDisk,
        scripts: Rc<RefCell<Rc<Scripts>>>,
        can_hang: bool,
    ) -> Self {
        Self { world, node, disk, scripts, can_hang, started: Rc::default(), running: Rc::default() }
    }

    /// Those that have not ended, for the harness.
    pub fn running(&self) -> Vec<u32> {
        self.running.borrow().iter().copied().collect()
    }

    fn record(&self, event: Event) {
        self.world.record(Some(self.node), event);
    }
}

/// The signal that ends a group; the machine sends it too, when it has no memory left.
const KILLED: ExitStatus = ExitStatus::Signal(9);

/// What hangs takes its time limit, an hour if nobody asks for another, on one node after another: runs must be longer.
pub const HANGS_TAKE: Duration = Duration::from_secs(12 * 60 * 60);

/// How a process ends otherwise than its script says, by choice: `None` hangs, and the last one lies.
const ENDS: [Option<ExitStatus>; 4] = [Some(ExitStatus::Code(1)), Some(KILLED), None, Some(ExitStatus::Code(0))];

impl Processes for SimProcesses {
    type Child = SimChild;

    async fn spawn(&self, command: &Command) -> io::Result<SimChild> {
        let fares = self.world.draw(Some(self.node), Kind::ProcessFails, 1 + ENDS.len() as u32);
        if self.world.fails(self.node, Kind::SpawnFails).await {
            return Err(io::Error::other("resource temporarily unavailable"));
        }
        let scripts = Rc::clone(&self.scripts.borrow());
        let mut script = scripts(self.node, command)?;
        let process = self.started.replace(self.started.get() + 1);
        self.running.borrow_mut().insert(process);
        self.record(Event::ProcessStarted { process, command: command.clone() });
        let otherwise = fares.checked_sub(1).map(|way| ENDS[way as usize]);
        if let Some(exit) = otherwise.filter(|exit| exit.is_some() || self.can_hang) {
            self.record(Event::Fault(Fault::Failed { what: Kind::ProcessFails.as_str().into() }));
            script.ends_otherwise(exit);
        }
        Ok(SimChild {
            process,
            writes: script.writes.into(),
            last_pause: script.last_pause,
            exit: script.exit,
            files: script.files.into_iter().map(|(name, pieces)| (command.directory.join(name), pieces)).collect(),
            last: Instant::now(),
            due: None,
            killed: false,
            processes: self.clone(),
        })
    }
}

/// A running simulated child.
pub struct SimChild {
    process: u32,
    writes: VecDeque<(Duration, OutputStream, Bytes)>,
    last_pause: Duration,
    exit: Option<ExitStatus>,
    files: Vec<(PathBuf, Vec<Bytes>)>,
    /// When it did the last of what its node has seen: it goes on whether its node looks or not.
    last: Instant,
    /// When what comes next may be seen; kept across calls, so that a cancelled one loses nothing.
    due: Option<Instant>,
    killed: bool,
    processes: SimProcesses,
}

impl SimChild {
    fn next_pause(&self) -> Duration {
        self.writes.front().map_or(self.last_pause, |(pause, ..)| *pause)
    }

    async fn wait_until_due(&mut self) {
        let due = match self.due {
            Some(due) => due,
            None => {
                let delay = self.processes.world.draw_delay(self.processes.node, Kind::OutputDelay);
                let due = self.last + self.next_pause() + delay.unwrap_or_default();
                *self.due.insert(due)
            }
        };
        if due > Instant::now() {
            sleep_until(due).await;
        }
        self.last = due;
        self.due = None;
    }

    /// The next write, or the part of it that gets through now.
    fn take_write(&mut self) -> Option<(OutputStream, Bytes)> {
        let (_, stream, mut bytes) = self.writes.pop_front()?;
        let part = bytes.split_to(self.processes.world.draw_cut(self.processes.node, Kind::OutputCut, bytes.len()));
        if !bytes.is_empty() {
            self.writes.push_front((Duration::ZERO, stream, bytes));
        }
        Some((stream, part))
    }

    /// Its node ends it, unless it has ended or is being ended.
    fn tell_killed(&mut self) {
        if !std::mem::replace(&mut self.killed, true) && self.processes.running.borrow().contains(&self.process) {
            self.processes.record(Event::ProcessKilled { process: self.process });
        }
    }

    fn end(&self, status: ExitStatus) {
        if self.processes.running.borrow_mut().remove(&self.process) {
            self.processes.record(Event::ProcessExited { process: self.process, status });
        }
    }
}

impl Child for SimChild {
    async fn next(&mut self) -> io::Result<Output> {
        self.wait_until_due().await;
        if self.processes.world.fails(self.processes.node, Kind::OutputFails).await {
            let cause = "the pipe is broken".to_owned();
            self.processes.record(Event::ProcessUnreadable { process: self.process, cause: cause.clone() });
            return Err(io::Error::other(cause));
        }
        if let Some((stream, bytes)) = self.take_write() {
            self.processes.record(Event::ProcessOutput { process: self.process, stream, bytes: bytes.clone() });
            return Ok(Output::Chunk(stream, bytes));
        }
        let Some(status) = self.exit else { return pending().await };
        for (path, pieces) in self.files.drain(..) {
            self.processes.disk.leave(&path, &pieces);
        }
        self.end(status);
        Ok(Output::Exit(status))
    }

    async fn kill_group(&mut self) -> io::Result<()> {
        self.tell_killed();
        let SimProcesses { world, node, .. } = &self.processes;
        world.delay(*node, Kind::GroupEnd).await;
        let fails = world.fails(*node, Kind::GroupEndFails).await;
        self.end(KILLED);
        if fails { Err(io::Error::other("no child processes")) } else { Ok(()) }
    }
}

impl Drop for SimChild {
    fn drop(&mut self) {
        // Who lets go of a child while its node lives ends it; else it ends with its node.
        if self.processes.world.lives().is_alive(self.processes.node) {
            self.tell_killed();
        }
        self.end(KILLED);
    }
}
