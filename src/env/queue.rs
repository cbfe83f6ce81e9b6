//! A queue that is bounded in bytes: the only kind that holds what comes from outside.
//!
//! It takes an item while it holds less than its bound, whatever that item's size, and so never holds more than its bound and
//! one item. Who puts something in chooses what happens when it is full: [`ByteQueue::send`] waits, [`ByteQueue::offer`] does not.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use tokio::sync::Mutex;

use super::Pulse;

struct Shared<T> {
    bytes_max: usize,
    items: RefCell<VecDeque<(T, usize)>>,
    bytes: Cell<usize>,
    /// Something was put in or taken out.
    changes: Pulse,
    /// Whoever waits for room holds it: they get in as they came.
    turn: Mutex<()>,
    /// Hears how much was held before an item, and its size.
    account: Box<dyn Fn(usize, usize)>,
}

/// A first-in first-out queue of at most its bound in bytes and one item. Clones are handles to the same queue.
pub struct ByteQueue<T>(Rc<Shared<T>>);

impl<T> Clone for ByteQueue<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> ByteQueue<T> {
    /// An empty queue; [`super::Env::queue`] is the comfortable form. `account` hears of each item that is put in: how many
    /// bytes were held before it, and how many it has.
    pub fn new(bytes_max: usize, account: impl Fn(usize, usize) + 'static) -> Self {
        Self(Rc::new(Shared {
            bytes_max,
            items: RefCell::default(),
            bytes: Cell::new(0),
            changes: Pulse::default(),
            turn: Mutex::new(()),
            account: Box::new(account),
        }))
    }

    /// Puts an item of `bytes` bytes in, if there is room.
    ///
    /// # Errors
    /// The item, when there is none.
    pub fn offer(&self, item: T, bytes: usize) -> Result<(), T> {
        let held = self.0.bytes.get();
        if held >= self.0.bytes_max {
            return Err(item);
        }
        self.0.bytes.set(held + bytes);
        self.0.items.borrow_mut().push_back((item, bytes));
        (self.0.account)(held, bytes);
        self.0.changes.beat();
        Ok(())
    }

    /// Waits for room, then puts an item in. Those who wait get in as they came. Safe to cancel: the item is dropped then.
    pub async fn send(&self, item: T, bytes: usize) {
        let _turn = self.0.turn.lock().await;
        let mut item = item;
        loop {
            // Watch first: room that is made between the look and the wait must not be missed.
            let mut changes = self.0.changes.subscribe();
            match self.offer(item, bytes) {
                Ok(()) => return,
                Err(back) => item = back,
            }
            changes.changed().await;
        }
    }

    /// The oldest item, if there is one.
    pub fn take(&self) -> Option<T> {
        let (item, bytes) = self.0.items.borrow_mut().pop_front()?;
        self.0.bytes.set(self.0.bytes.get() - bytes);
        self.0.changes.beat();
        Some(item)
    }

    /// The oldest item; waits for it. Safe to cancel: nothing is lost.
    pub async fn next(&self) -> T {
        loop {
            let mut changes = self.0.changes.subscribe();
            if let Some(item) = self.take() {
                return item;
            }
            changes.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_queue_holds_its_bound_and_one_item_and_no_more() {
        let most = Rc::new(Cell::new(0));
        let heard = Rc::clone(&most);
        let queue = ByteQueue::new(10, move |held, bytes| heard.set(heard.get().max(held + bytes)));
        assert_eq!([9, 100, 1].map(|bytes| queue.offer(bytes, bytes)), [Ok(()), Ok(()), Err(1)]);
        assert_eq!(most.get(), 109);
    }

    #[test]
    fn an_item_that_waits_gets_in_as_soon_as_there_is_room_and_in_its_turn() {
        let queue = ByteQueue::new(1, |_, _| {});
        queue.offer("first", 1).unwrap();
        let mut sent = ["second", "third"].map(|item| Box::pin(queue.send(item, 1)));
        assert!(sent.iter_mut().all(|sent| sent.now_or_never().is_none()));
        assert_eq!(queue.take(), Some("first"));
        assert!(sent[1].as_mut().now_or_never().is_none(), "it is not its turn");
        assert!(sent[0].as_mut().now_or_never().is_some());
        assert_eq!([queue.take(), queue.take()], [Some("second"), None]);
        assert!(sent[1].as_mut().now_or_never().is_some());
    }

    #[test]
    fn an_item_that_nobody_waits_to_put_in_any_more_is_dropped() {
        let queue = ByteQueue::new(1, |_, _| {});
        queue.offer("first", 1).unwrap();
        assert!(queue.send("second", 1).now_or_never().is_none());
        assert_eq!(queue.next().now_or_never(), Some("first"));
        assert_eq!(queue.next().now_or_never(), None);
    }
}
