//! Runs the tasks of all nodes on one thread, one poll at a time, in the order that the decision log says.
//!
//! The executor is the root future of a tokio runtime with paused time. It polls ready tasks until none is left, then
//! hands the packets that they sent to the network, and lets time jump to the next timer or delivery. It never sleeps
//! for real, and never polls two tasks at once.

use std::{
    cell::RefCell,
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use tokio::time::{Duration, Instant, Sleep, sleep_until};

use super::{
    panics,
    wire::Wire,
    world::{Spawner, World},
};
use crate::{
    check::{Death, Event, NodeIndex},
    env::{Kill, LocalFuture},
};

/// Virtual time after which a run that has not ended is stuck: well beyond the longest time limit of the logic.
pub(super) const HORIZON: Duration = Duration::from_secs(24 * 60 * 60);

/// Polls between two advances of time before the run is given up as an endless cycle.
const POLLS_PER_INSTANT_MAX: u32 = 200_000;

/// The ready tasks, oldest first; shared with wakers, which the runtime may call from its timer.
#[derive(Default)]
struct Ready {
    tasks: Mutex<Vec<u32>>,
    root: Mutex<Option<Waker>>,
}

struct TaskWaker {
    task: u32,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::Relaxed) {
            return;
        }
        self.ready.tasks.lock().expect("no poll panics while it holds the lock").push(self.task);
        if let Some(root) = self.ready.root.lock().expect("see above").as_ref() {
            root.wake_by_ref();
        }
    }
}

struct Task {
    node: Option<NodeIndex>,
    name: String,
    future: Option<LocalFuture>,
    waker: Arc<TaskWaker>,
}

/// What tasks ask of the executor while it polls one of them.
#[derive(Default)]
struct Requests {
    started: Vec<(u32, Option<NodeIndex>, String, LocalFuture)>,
    killed: Vec<u32>,
    /// Nodes that died, and how.
    crashed: Vec<(NodeIndex, Death)>,
    revived: Vec<NodeIndex>,
    /// Ways on which packets are lost from now on, or get through again.
    ways: Vec<(NodeIndex, NodeIndex, bool)>,
    next: u32,
}

/// A handle with which tasks start and kill tasks.
#[derive(Clone, Default)]
pub struct Tasks(Rc<RefCell<Requests>>);

impl Spawner for Tasks {
    fn start(&self, node: Option<NodeIndex>, name: String, future: LocalFuture) -> Box<dyn Kill> {
        let mut requests = self.0.borrow_mut();
        let task = requests.next;
        requests.next += 1;
        requests.started.push((task, node, name, future));
        Box::new(Handle { task, tasks: self.clone() })
    }

    fn can_crash(&self) -> bool {
        true
    }

    fn horizon(&self) -> Duration {
        HORIZON
    }

    fn crash(&self, node: NodeIndex, death: Death) {
        self.0.borrow_mut().crashed.push((node, death));
    }

    fn revive(&self, node: NodeIndex) {
        self.0.borrow_mut().revived.push(node);
    }

    fn lose(&self, from: NodeIndex, to: NodeIndex, lost: bool) {
        self.0.borrow_mut().ways.push((from, to, lost));
    }
}

struct Handle {
    task: u32,
    tasks: Tasks,
}

impl Kill for Handle {
    fn kill(&self) {
        self.tasks.0.borrow_mut().killed.push(self.task);
    }
}

/// The root future: resolves when `done` says so, or when nothing can go on.
pub struct Executor {
    world: Rc<World>,
    wire: Wire,
    requests: Tasks,
    tasks: Vec<Task>,
    ready: Arc<Ready>,
    alarm: Pin<Box<Sleep>>,
    horizon: Instant,
    polls_at: (Instant, u32),
    done: Rc<dyn Fn() -> bool>,
}

impl Executor {
    /// An executor that gives up `horizon` after now.
    pub fn new(world: Rc<World>, wire: Wire, requests: Tasks, horizon: Duration, done: Rc<dyn Fn() -> bool>) -> Self {
        let now = Instant::now();
        Self {
            world,
            wire,
            requests,
            tasks: Vec::new(),
            ready: Arc::default(),
            alarm: Box::pin(sleep_until(now)),
            horizon: now + horizon,
            polls_at: (now, 0),
            done,
        }
    }

    /// Drops every task, each in the context of its node.
    pub fn clear(&mut self) {
        for index in 0..self.tasks.len() {
            self.drop_future(index);
        }
        self.adopt();
        while let Some(task) = self.tasks.pop() {
            self.wire.enter(task.node);
            drop(task);
        }
    }

    /// Takes over what tasks asked for: new tasks become ready, killed ones are dropped.
    fn adopt(&mut self) {
        let Requests { started, killed, crashed, revived, ways, .. } = {
            let mut requests = self.requests.0.borrow_mut();
            let next = requests.next;
            mem::replace(&mut *requests, Requests { next, ..Requests::default() })
        };
        for (id, node, name, future) in started {
            debug_assert_eq!(id as usize, self.tasks.len(), "tasks are numbered by their start");
            let waker = Arc::new(TaskWaker { task: id, queued: AtomicBool::new(true), ready: Arc::clone(&self.ready) });
            self.tasks.push(Task { node, name, future: Some(future), waker });
            self.ready.tasks.lock().expect("no poll panics while it holds the lock").push(id);
        }
        for id in killed {
            self.drop_future(id as usize);
        }
        for (node, death) in crashed {
            self.bury(node, death);
        }
        revived.into_iter().for_each(|node| self.wire.revive(node));
        ways.into_iter().for_each(|(from, to, lost)| self.wire.lose(from, to, lost));
    }

    /// Drops the tasks of a life that ended, those included that its last poll started. What their sockets say as they
    /// close is heard by nobody if the node is silent.
    fn bury(&mut self, node: NodeIndex, death: Death) {
        match death {
            Death::Closed => {}
            // What was sent before is no part of the reset.
            Death::Reset => drop(self.wire.collect(Instant::now())),
            Death::Silent | Death::PowerLoss => self.wire.silence(node),
        }
        for id in 0..self.tasks.len() {
            if self.tasks[id].node == Some(node) {
                self.drop_future(id);
            }
        }
        if death == Death::Reset {
            self.wire.reset(node);
        }
    }

    fn drop_future(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        if let Some(future) = task.future.take() {
            self.wire.enter(task.node);
            drop(future);
        }
    }

    fn next_ready(&mut self) -> Option<u32> {
        let tasks = &self.tasks;
        let mut ready = self.ready.tasks.lock().expect("no poll panics while it holds the lock");
        ready.retain(|&id| tasks[id as usize].future.is_some());
        let lives = self.world.lives();
        let runs = |id: &u32| !tasks[*id as usize].node.is_some_and(|node| lives.is_paused(node));
        if !lives.any_paused() {
            return self.pick(&ready).map(|index| ready.remove(index));
        }
        let (places, running): (Vec<usize>, Vec<u32>) =
            ready.iter().copied().enumerate().filter(|(_, id)| runs(id)).unzip();
        self.pick(&running).map(|index| ready.remove(places[index]))
    }

    /// The place of the one that goes next.
    fn pick(&self, ready: &[u32]) -> Option<usize> {
        match ready.len() {
            0 => None,
            1 => Some(0),
            _ => Some(self.world.pick_task(ready)),
        }
    }

    fn poll_task(&mut self, id: u32) {
        let task = &mut self.tasks[id as usize];
        task.waker.queued.store(false, Ordering::Relaxed);
        let Some(mut future) = task.future.take() else { return };
        self.wire.enter(task.node);
        let waker = Waker::from(Arc::clone(&task.waker));
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        let task = &mut self.tasks[id as usize];
        match polled {
            Ok(Poll::Pending) => task.future = Some(future),
            Ok(Poll::Ready(())) => drop(future),
            Err(panic) => {
                let event = Event::TaskPanicked { task: task.name.clone(), message: panics::message(&*panic) };
                self.world.record(task.node, event);
            }
        }
    }

    /// Is too much being done without time going by?
    fn runs_hot(&mut self, now: Instant) -> bool {
        if self.polls_at.0 != now {
            self.polls_at = (now, 0);
        }
        self.polls_at.1 += 1;
        self.polls_at.1 > POLLS_PER_INSTANT_MAX
    }

    fn give_up(&self) {
        let waiting = (0..self.tasks.len() as u32).filter(|id| self.tasks[*id as usize].future.is_some());
        self.world.record(None, Event::Stuck { waiting: waiting.map(|id| self.name_of(id)).collect() });
    }

    fn name_of(&self, id: u32) -> String {
        let task = &self.tasks[id as usize];
        match task.node {
            Some(node) => format!("{node} {}", task.name),
            None => task.name.clone(),
        }
    }

    /// Runs all that is ready; true when the run is over.
    fn run_ready(&mut self) -> bool {
        loop {
            let now = Instant::now();
            self.wire.deliver(now);
            self.adopt();
            if let Some(id) = self.next_ready() {
                self.poll_task(id);
                if (self.done)() {
                    return true;
                }
                if self.runs_hot(now) {
                    self.world.record(None, Event::Hot { polls: self.polls_at.1, last: self.name_of(id) });
                    return true;
                }
            } else if !self.wire.collect(now) {
                return false;
            }
        }
    }
}

impl Future for Executor {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let me = self.get_mut();
        *me.ready.root.lock().expect("no poll panics while it holds the lock") = Some(cx.waker().clone());
        loop {
            if me.run_ready() {
                return Poll::Ready(());
            }
            if Instant::now() >= me.horizon {
                me.give_up();
                return Poll::Ready(());
            }
            let next = me.wire.next_delivery().map_or(me.horizon, |delivery| delivery.min(me.horizon));
            me.alarm.as_mut().reset(next);
            if me.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
