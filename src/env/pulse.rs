//! Tells those who wait that something has changed.
//!
//! In place of `tokio::sync::watch`, whose waiters are woken in an order that is drawn at random: here they are woken in the
//! order in which they began to wait, so that the same run wakes them the same way.

use std::{cell::Cell, rc::Rc};

use tokio::sync::Notify;

#[derive(Default)]
struct Shared {
    count: Cell<u64>,
    changed: Notify,
}

/// The side that changes something. Dropping it is the last change.
#[derive(Default)]
pub struct Pulse(Rc<Shared>);

impl Pulse {
    /// Something has changed.
    pub fn beat(&self) {
        self.0.count.set(self.0.count.get() + 1);
        self.0.changed.notify_waiters();
    }

    /// Sees every change from now on.
    pub fn subscribe(&self) -> Beats {
        Beats { of: Rc::clone(&self.0), seen: self.0.count.get() }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.beat();
    }
}

/// The side that waits.
pub struct Beats {
    of: Rc<Shared>,
    seen: u64,
}

impl Beats {
    /// Resolves after the next change; at once if there was one since the last call. Safe to cancel.
    pub async fn changed(&mut self) {
        loop {
            // Ask to be told first: a change between the look and the wait must not be missed.
            let changed = self.of.changed.notified();
            if self.seen != self.of.count.get() {
                self.seen = self.of.count.get();
                return;
            }
            changed.await;
        }
    }
}
