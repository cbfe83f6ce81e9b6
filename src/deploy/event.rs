//! Events of a deploy, and the emitter that hands them to whoever listens (spec 3).

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::{Rc, Weak},
};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::install::InstallLine;
use crate::env::NodeName;

/// Whether a phase begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseStatus {
    /// It begins.
    Start,
    /// It has ended well.
    Done,
    /// It has failed.
    Error,
}

impl PhaseStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Done => "done",
            Self::Error => "error",
        }
    }
}

/// Something that happened in a deploy: a name and its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    name: &'static str,
    data: Value,
}

impl Event {
    /// `phase {phase, status}`.
    pub fn phase(phase: &str, status: PhaseStatus) -> Self {
        Self { name: "phase", data: json!({ "phase": phase, "status": status.as_str() }) }
    }

    /// `install {manager, stream, line}`: a line that the installer printed.
    pub fn install(line: &InstallLine<'_>) -> Self {
        let InstallLine { manager, stream, line } = line;
        Self { name: "install", data: json!({ "manager": manager, "stream": stream.as_str(), "line": line }) }
    }

    /// `install {node, manager, stream, line}`: a line that a peer's installer printed, as the peer told it.
    pub fn install_on(peer: &NodeName, mut line: Map<String, Value>) -> Self {
        line.insert("node".to_owned(), json!(peer));
        Self { name: "install", data: Value::Object(line) }
    }

    /// `warning {message, node, lines}`: lines of a peer's installer that came too fast to be told.
    pub fn lines_left_out(peer: &NodeName, lines: u64) -> Self {
        let message = format!("{lines} lines of the install on {peer} were left out: they came too fast");
        Self { name: "warning", data: json!({ "message": message, "node": peer, "lines": lines }) }
    }

    /// `peer`: an outcome as it came.
    pub fn peer(outcome: Value) -> Self {
        Self { name: "peer", data: outcome }
    }

    /// `warning {message}`.
    pub fn warning(message: &str) -> Self {
        Self { name: "warning", data: json!({ "message": message }) }
    }

    /// `payload_dropped {deployment_id, reason}`: retention has let a payload go.
    pub fn payload_dropped(deployment_id: Uuid, reason: &str) -> Self {
        Self { name: "payload_dropped", data: json!({ "deployment_id": deployment_id, "reason": reason }) }
    }

    /// `error`: the failure; the last event of a client's stream.
    pub fn error(failure: Value) -> Self {
        Self { name: "error", data: failure }
    }

    /// `done {result}`: the success; the last event of a client's stream.
    pub fn done(result: Value) -> Self {
        Self { name: "done", data: json!({ "result": result }) }
    }

    /// The event's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The event's data.
    pub fn data(&self) -> &Value {
        &self.data
    }

    /// The phase that this event begins.
    pub fn started_phase(&self) -> Option<&str> {
        self.changed_phase().filter(|_| self.data["status"] == "start")
    }

    /// The phase that this event is about.
    pub fn changed_phase(&self) -> Option<&str> {
        self.data["phase"].as_str().filter(|_| self.name == "phase")
    }
}

/// What a listener says when it fails.
pub type ListenerError = Box<dyn std::error::Error>;

type Listener = Rc<dyn Fn(&Event) -> Result<(), ListenerError>>;

#[derive(Default)]
struct Listeners {
    by_number: RefCell<BTreeMap<u64, Listener>>,
    next: Cell<u64>,
}

/// Hands events to its listeners, in the order in which they subscribed. Keeps nothing: who comes late has missed what
/// was. Clones are handles to the same emitter.
#[derive(Clone, Default)]
pub struct ProgressEmitter(Rc<Listeners>);

impl ProgressEmitter {
    /// Calls `listener` with each event from now on, until the subscription is dropped.
    pub fn subscribe(&self, listener: impl Fn(&Event) -> Result<(), ListenerError> + 'static) -> Subscription {
        let number = self.0.next.replace(self.0.next.get() + 1);
        self.0.by_number.borrow_mut().insert(number, Rc::new(listener));
        Subscription { number, listeners: Rc::downgrade(&self.0) }
    }

    /// Hands `event` to those who listen now: over a snapshot, so that one who leaves meanwhile makes nobody be skipped.
    /// A listener that fails stops neither the others nor the deploy (museum S12).
    pub fn emit(&self, event: &Event) {
        let listeners: Vec<Listener> = self.0.by_number.borrow().values().cloned().collect();
        for listener in listeners {
            // What it says is its own affair: the emitter has nobody to tell.
            let _ = listener(event);
        }
    }
}

/// A listener's hold on its emitter; dropping it ends the calls.
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    number: u64,
    listeners: Weak<Listeners>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(listeners) = self.listeners.upgrade() {
            listeners.by_number.borrow_mut().remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(count: &Rc<Cell<u32>>) -> impl Fn(&Event) -> Result<(), ListenerError> + 'static {
        let count = Rc::clone(count);
        move |_| {
            count.set(count.get() + 1);
            Ok(())
        }
    }

    #[test]
    fn a_listener_that_fails_stops_neither_the_others_nor_the_emitter() {
        let (emitter, heard) = (ProgressEmitter::default(), Rc::new(Cell::new(0)));
        let _failing = emitter.subscribe(|_| Err("a buggy listener".into()));
        let _other = emitter.subscribe(counting(&heard));
        emitter.emit(&Event::warning("disk nearly full"));
        assert_eq!(heard.get(), 1);
    }

    #[test]
    fn listeners_are_called_in_the_order_in_which_they_subscribed() {
        let (emitter, heard) = (ProgressEmitter::default(), Rc::new(RefCell::new(Vec::new())));
        let _subscriptions = [1, 2, 3].map(|number| {
            let heard = Rc::clone(&heard);
            emitter.subscribe(move |_| {
                heard.borrow_mut().push(number);
                Ok(())
            })
        });
        emitter.emit(&Event::warning("disk nearly full"));
        assert_eq!(*heard.borrow(), [1, 2, 3]);
    }

    #[test]
    fn a_listener_that_leaves_while_it_is_called_makes_nobody_be_skipped() {
        let (emitter, heard) = (ProgressEmitter::default(), Rc::new(Cell::new(0)));
        let own: Rc<RefCell<Option<Subscription>>> = Rc::default();
        let leaving = Rc::clone(&own);
        *own.borrow_mut() = Some(emitter.subscribe(move |_| {
            leaving.borrow_mut().take();
            Ok(())
        }));
        let _next = emitter.subscribe(counting(&heard));
        emitter.emit(&Event::warning("one"));
        emitter.emit(&Event::warning("two"));
        assert_eq!(heard.get(), 2);
    }

    #[test]
    fn nothing_is_heard_after_a_subscription_is_dropped() {
        let (emitter, heard) = (ProgressEmitter::default(), Rc::new(Cell::new(0)));
        drop(emitter.subscribe(counting(&heard)));
        emitter.emit(&Event::warning("nobody is here"));
        assert_eq!(heard.get(), 0);
    }
}
