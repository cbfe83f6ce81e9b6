//! Events on their way from a deploy to the client of its stream.
//!
//! A deploy never waits for its client. Lines that a slow client leaves waiting are counted and left out; what tells how the
//! deploy goes has room of its own, and a client that leaves even that unread loses its stream, not its deploy.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
};

use super::{
    answer::BrokenOff,
    limits::{EVENTS_WAITING_BYTES_MAX, LINES_WAITING_BYTES_MAX},
};
use crate::{deploy::event::Event, env::Pulse};

#[derive(Default)]
struct Shared {
    waiting: RefCell<VecDeque<(Event, usize)>>,
    bytes: Cell<usize>,
    /// Lines that found no room since the last event that did.
    left_out: Cell<u64>,
    /// Nothing more is to come.
    over: Cell<bool>,
    /// What was to come found no room.
    broken: Cell<bool>,
    changed: Pulse,
}

/// The deploy's side; dropping it ends the stream.
pub(super) struct EventSink(Weak<Shared>);

/// The client's side; once it is dropped, nothing is kept.
pub(super) struct EventSource(Rc<Shared>);

/// Both sides of a stream.
pub(super) fn channel() -> (EventSink, EventSource) {
    let shared = Rc::new(Shared::default());
    (EventSink(Rc::downgrade(&shared)), EventSource(shared))
}

impl EventSink {
    /// Hands an event on; false when nobody will hear of it.
    pub(super) fn push(&self, event: &Event) -> bool {
        self.0.upgrade().is_some_and(|shared| {
            let taken = shared.push(event);
            shared.changed.beat();
            taken
        })
    }

    /// Is somebody there still, who hears of everything but lines?
    pub(super) fn is_heard(&self) -> bool {
        self.0.upgrade().is_some_and(|shared| !shared.over.get())
    }
}

impl Drop for EventSink {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.over.set(true);
            shared.changed.beat();
        }
    }
}

impl Shared {
    fn push(&self, event: &Event) -> bool {
        let bytes = event.data().to_string().len();
        if event.name() == "install" && self.bytes.get() + bytes > LINES_WAITING_BYTES_MAX {
            self.left_out.set(self.left_out.get() + 1);
            return false;
        }
        if self.over.get() || self.bytes.get() + bytes > EVENTS_WAITING_BYTES_MAX {
            self.over.set(true);
            self.broken.set(true);
            return false;
        }
        if let Some(told) = told(self.left_out.take()) {
            self.waiting.borrow_mut().push_back((told, 0));
        }
        self.bytes.set(self.bytes.get() + bytes);
        self.waiting.borrow_mut().push_back((event.clone(), bytes));
        true
    }

    fn take(&self) -> Option<Event> {
        let (event, bytes) = self.waiting.borrow_mut().pop_front()?;
        self.bytes.set(self.bytes.get() - bytes);
        Some(event)
    }
}

fn told(left_out: u64) -> Option<Event> {
    let message = || format!("{left_out} lines of output were left out: this client reads too slowly");
    (left_out > 0).then(|| Event::warning(&message()))
}

impl EventSource {
    /// The next event; waits for it. `None` when no more come; an error in the end's place when some found no room. Safe to
    /// cancel.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, BrokenOff> {
        loop {
            let mut changed = self.0.changed.subscribe();
            if let Some(event) = self.0.take() {
                return Ok(Some(event));
            }
            match (self.0.over.get(), self.0.broken.get()) {
                (true, true) => return Err("this client reads too slowly: follow the deployment by its id".into()),
                (true, false) => return Ok(None),
                (false, _) => changed.changed().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use serde_json::{Map, json};

    use super::*;

    fn line(bytes: usize) -> Event {
        Event::install_on(&"n2".into(), Map::from_iter([("line".to_owned(), json!("x".repeat(bytes)))]))
    }

    fn heard(source: &mut EventSource) -> Vec<Event> {
        std::iter::from_fn(|| source.next().now_or_never()?.ok().flatten()).collect()
    }

    #[test]
    fn a_slow_client_misses_lines_and_hears_how_many_and_how_it_ended() {
        let (sink, mut source) = channel();
        for _ in 0..1_000 {
            sink.push(&line(1024));
        }
        sink.push(&Event::done(json!({})));
        drop(sink);
        let heard = heard(&mut source);
        let lines = heard.iter().filter(|event| event.name() == "install").count();
        assert!((400..520).contains(&lines), "{lines}");
        let [.., warning, done] = &heard[..] else { panic!("it ends with a warning and the end") };
        assert_eq!(done.name(), "done");
        assert!(matches!(source.next().now_or_never(), Some(Ok(None))), "it ends");
        assert!(warning.data()["message"].as_str().unwrap().starts_with(&format!("{} lines", 1_000 - lines)));
    }

    #[test]
    fn a_client_that_reads_nothing_loses_its_stream_and_memory_stays_bounded() {
        let (sink, mut source) = channel();
        for _ in 0..100 {
            sink.push(&Event::peer(json!({ "node": "n2", "error": "x".repeat(100_000) })));
        }
        sink.push(&Event::done(json!({})));
        assert!(source.0.bytes.get() <= EVENTS_WAITING_BYTES_MAX);
        assert!(heard(&mut source).iter().all(|event| event.name() == "peer"), "no end is told after a gap");
        assert!(source.next().now_or_never().unwrap().is_err(), "it breaks off");
    }

    #[test]
    fn a_client_that_has_left_costs_nothing() {
        let (sink, source) = channel();
        drop(source);
        assert!(!sink.push(&line(10)) && !sink.is_heard());
    }
}
